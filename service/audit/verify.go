package audit

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Fault is the first thing wrong with a log.
type Fault struct {
	File   string
	Line   int    // from 1
	Seq    uint64 // of the record; 0 where it cannot be read
	Kind   FaultKind
	Detail string
}

// FaultKind is in what way a log is wrong.
type FaultKind string

// The kinds.
const (
	Changed    FaultKind = "changed"    // a record is not as it was written
	Missing    FaultKind = "missing"    // records are not there
	Reordered  FaultKind = "reordered"  // a record is not in its place
	Duplicated FaultKind = "duplicated" // a record is there twice
	Gap        FaultKind = "gap"        // records are missing between two files
	Signature  FaultKind = "signature"  // a checkpoint is not by the key, or for another chain
	Truncated  FaultKind = "truncated"  // the end is cut in the middle of a record
	Unsigned   FaultKind = "unsigned"   // there is a key and no checkpoint
)

// Error says where and what.
func (f *Fault) Error() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if f.Seq > 0 {
		at += fmt.Sprintf(": record %d", f.Seq)
	}
	return fmt.Sprintf("%s: %s: %s", at, f.Kind, f.Detail)
}

// Key is a public key that may have signed checkpoints: those with its KID, or,
// where it has none, any.
type Key struct {
	KID    string
	Public *ecdsa.PublicKey
}

// Report is what Verify found in a log without fault.
type Report struct {
	Files       int       `json:"files"`
	Records     uint64    `json:"records"`
	First       uint64    `json:"first"`
	Last        uint64    `json:"last"`
	FirstTime   time.Time `json:"first_time"`
	LastTime    time.Time `json:"last_time"`
	LastHash    Hash      `json:"last_hash"`
	From        string    `json:"from,omitzero"` // the file, not among these, that the first goes on from
	Checkpoints int       `json:"checkpoints"`
	// Through is the last record that a checkpoint vouches for. What comes
	// behind it is chained and no more: who can write the file can change it,
	// or cut it off without a trace.
	Through uint64 `json:"through"`
	// Signatures says whether the checkpoints were checked with a key.
	Signatures bool `json:"signatures"`
	Recovered  int  `json:"recovered"` // crashes that have left half a record
}

// Verify follows the chain through files, in any order, and directories. It
// returns what it found, or a *Fault, the first; other errors are those of
// reading. Without keys the signatures of checkpoints are not checked, only
// that they are for this chain. It may run while the log is written, and needs
// a few MiB for a log of any size.
//
// Whether records follow, or followed, the last one is not to be seen from the
// log: keep the Last and LastHash of a Report elsewhere to know it.
func Verify(ctx context.Context, paths []string, keys ...Key) (Report, error) {
	list, err := sources(paths)
	if err != nil {
		return Report{}, err
	}
	v := &verifier{ctx: ctx.Err, keys: keys}
	v.report.Signatures = len(keys) > 0
	for i, s := range list {
		v.final = i == len(list)-1
		if err := v.file(ctx, s); err != nil {
			return v.report, err
		}
		v.report.Files++
	}
	if len(keys) > 0 && v.report.Checkpoints == 0 {
		return v.report, &Fault{File: v.path, Kind: Unsigned, Detail: "there is no checkpoint that the key could be used on"}
	}
	return v.report, nil
}

// verifier is the state between two records.
type verifier struct {
	ctx    func() error
	keys   []Key
	report Report
	final  bool // this is the last file

	path  string
	in    *lines
	line  int // of the record at hand
	hash  Hash
	known []Hash // of the last records, by their number modulo its size
}

const maxKnown = 2 * maxBehind

func (v *verifier) fault(seq uint64, kind FaultKind, format string, args ...any) *Fault {
	return &Fault{File: v.path, Line: v.line, Seq: seq, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

func (v *verifier) file(ctx context.Context, s source) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer f.Close()
	before := v.path
	v.path, v.in, v.line = s.path, newLines(f), 0
	// What the server writes from now on is not waited for, or a fast one would
	// never be caught up with.
	for size := int64(0); size < s.info.Size(); {
		line, err := v.in.patient(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		v.line++
		switch {
		case errors.Is(err, errTorn) && v.final:
			return v.fault(0, Truncated, "the log ends in the middle of a record, %d bytes behind record %d", v.in.torn, v.report.Last)
		case errors.Is(err, errTorn), errors.Is(err, errLong):
			return v.fault(0, Changed, "%v", err)
		case err != nil:
			return fmt.Errorf("%s: %w", v.path, err)
		}
		if err := v.ctx(); err != nil {
			return err
		}
		size += int64(len(line))
		if err := v.record(line, before); err != nil {
			return err
		}
	}
	if v.line == 0 && !v.final {
		return v.fault(0, Changed, "the file is empty")
	}
	return nil
}

// record checks the line at hand; before is the file ahead of this one.
func (v *verifier) record(line []byte, before string) error {
	hash := hashOf(line)
	r, err := ParseLine(line)
	if err != nil {
		return v.fault(0, Changed, "%v, after record %d", err, v.report.Last)
	}
	if v.line == 1 && !r.begins() {
		return v.fault(r.Seq, Changed, "the file does not begin with where it goes on from: its beginning is cut off")
	}
	if v.report.Last == 0 {
		if r.Seq == 1 && r.Prev != (Hash{}) {
			return v.fault(1, Changed, "the first record has one before it")
		}
		v.report.First, v.report.FirstTime = r.Seq, r.Time
		if r.Seq > 1 {
			v.report.From = r.From
			v.remember(r.Seq-1, r.Prev)
		}
	} else if r.Seq != v.report.Last+1 || r.Prev != v.hash {
		return v.broken(r, hash, before)
	}
	v.hash = hash
	v.remember(r.Seq, hash)
	v.report.Records++
	v.report.Last, v.report.LastTime, v.report.LastHash = r.Seq, r.Time, hash
	switch r.Type {
	case typeCheckpoint:
		return v.checkpoint(r)
	case typeRecovered:
		v.report.Recovered++
	case typeResult:
		if r.Intent == 0 || r.Intent >= r.Seq {
			return v.fault(r.Seq, Changed, "it is the result of record %d, which is not before it", r.Intent)
		}
	}
	return nil
}

// broken says in what way a record does not go on from the one before it. It
// reads on to tell, and is the last that is done.
func (v *verifier) broken(r Record, hash Hash, before string) error {
	want := v.report.Last + 1
	here := v.fault(r.Seq, Changed, "it is not as it was written, or the one before it is not")
	next, nextErr := v.peek()
	switch {
	case r.Seq == want && v.line == 1:
		here.Detail = fmt.Sprintf("it does not go on from the last record of %s: one of them is not as it was written", before)
	case r.Seq == want && nextErr == nil && next.Prev == hash && v.line > 1:
		here.Line, here.Seq = v.line-1, v.report.Last
		here.Detail = "it is not as it was written: the record after it has another hash of it"
	case r.Seq == want && nextErr == nil:
		here.Detail = "it is not as it was written: neither the record before it nor the one after it fit"
	case r.Seq == want: // it is the last, and either may be
	case nextErr == nil && next.Seq == want+1 && v.line > 1:
		here.Detail = fmt.Sprintf("it is not as it was written: it stands where record %d does", want)
	case r.Seq <= v.report.Last && v.line == 1:
		here.Kind, here.Detail = Duplicated, fmt.Sprintf("%s has records up to %d already", before, v.report.Last)
	case r.Seq <= v.report.Last:
		here.Kind, here.Detail = Duplicated, fmt.Sprintf("it comes again after record %d", v.report.Last)
	case v.line == 1:
		here.Kind, here.Detail = Gap, fmt.Sprintf("records %d to %d are missing between %s and this file", want, r.Seq-1, before)
	case nextErr == nil && next.Seq == want || v.comes(want):
		here.Kind, here.Detail = Reordered, fmt.Sprintf("it stands ahead of record %d", want)
	default:
		here.Kind, here.Detail = Missing, fmt.Sprintf("records %d to %d are not there before it", want, r.Seq-1)
	}
	return here
}

// peek reads the record after the one at hand.
func (v *verifier) peek() (Record, error) {
	line, err := v.in.next()
	if err != nil {
		return Record{}, err
	}
	return ParseLine(line)
}

// comes says whether the rest of the file has a record of this number.
func (v *verifier) comes(seq uint64) bool {
	for v.ctx() == nil {
		line, err := v.in.next()
		if err != nil {
			return false
		}
		if r, err := ParseLine(line); err == nil && r.Seq == seq {
			return true
		}
	}
	return false
}

func (v *verifier) remember(seq uint64, hash Hash) {
	if len(v.known) < maxKnown {
		if len(v.known) == 0 { // places before the first stay empty
			v.known = make([]Hash, 0, 1024)
		}
		v.known = append(v.known, hash)
		return
	}
	v.known[(seq-v.begin())%maxKnown] = hash
}

// begin is the number of the first record that was remembered.
func (v *verifier) begin() uint64 {
	if v.report.First > 1 {
		return v.report.First - 1
	}
	return v.report.First
}

func (v *verifier) checkpoint(r Record) error {
	switch {
	case r.Through == 0 || r.Through >= r.Seq:
		return v.fault(r.Seq, Signature, "it vouches for record %d, which is not before it", r.Through)
	case r.Seq-r.Through > maxKnown-2:
		return v.fault(r.Seq, Signature, "it vouches for record %d, which is too far back", r.Through)
	case r.Through >= v.begin() && v.known[(r.Through-v.begin())%maxKnown] != r.Hash:
		return v.fault(r.Seq, Signature, "it vouches for another record %d than there is", r.Through)
	}
	if len(v.keys) > 0 {
		if err := v.signature(r); err != nil {
			return v.fault(r.Seq, Signature, "%v", err)
		}
	}
	v.report.Checkpoints++
	v.report.Through = max(v.report.Through, r.Through)
	return nil
}

func (v *verifier) signature(r Record) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(r.Sig)
	if err != nil || len(raw) != 64 {
		return errors.New("its signature is not 64 bytes in base64url")
	}
	digest := CheckpointDigest(r.Through, r.Hash)
	tried := false
	for _, key := range v.keys {
		if key.KID != "" && key.KID != r.KID {
			continue
		}
		tried = true
		if ecdsa.Verify(key.Public, digest[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])) {
			return nil
		}
	}
	if !tried {
		return fmt.Errorf("its kid %.100q is that of no key given", r.KID)
	}
	return fmt.Errorf("its signature is not by the key with the kid %.100q", r.KID)
}
