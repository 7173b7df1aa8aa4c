package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// linePrefix is what every line begins with.
const linePrefix = `{"seq":`

// Hash is the SHA-256 of a line, as lower case hex in the log.
type Hash [32]byte

// String returns the hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the hex digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText takes 64 digits, the letters in lower case.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) || bytes.ContainsAny(text, "ABCDEF") {
		return errors.New("not 64 lower case hex digits")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Record is one line of a log, read. What a type of record does not have is
// zero.
type Record struct {
	Seq  uint64    `json:"seq"`
	Prev Hash      `json:"prev"`
	Time time.Time `json:"time"`
	Type string    `json:"type"`

	// Of an intent and a note.
	Method     string          `json:"method,omitzero"`
	Generation string          `json:"generation,omitzero"`
	Caller     string          `json:"caller,omitzero"`
	Proof      string          `json:"proof,omitzero"`
	Grant      string          `json:"grant,omitzero"`
	Profile    string          `json:"profile,omitzero"`
	Key        string          `json:"key,omitzero"`
	Claims     []RecordedClaim `json:"claims,omitzero"`
	TTL        float64         `json:"ttl,omitzero"` // seconds

	// Of a result and a note.
	Intent     uint64 `json:"intent,omitzero"` // of a result: its intent's number
	Outcome    string `json:"outcome,omitzero"`
	Reason     string `json:"reason,omitzero"`
	KID        string `json:"kid,omitzero"` // of a checkpoint too
	JTI        string `json:"jti,omitzero"`
	Token      string `json:"token_sha256,omitzero"`
	IssueTime  int64  `json:"iat,omitzero"`
	ExpireTime int64  `json:"exp,omitzero"`
	Reused     bool   `json:"reused,omitzero"`

	// Of an act, beside method, generation, caller, proof and kid.
	Target string `json:"target,omitzero"`
	Change string `json:"change,omitzero"`
	Forced bool   `json:"forced,omitzero"`
	Why    string `json:"why,omitzero"`

	// Of the log's own records.
	Format  int    `json:"format,omitzero"`      // opened, rotated: 1
	From    string `json:"from,omitzero"`        // opened, rotated: the file that the chain comes from
	Sync    string `json:"sync,omitzero"`        // opened
	KeyID   string `json:"hmac_key_id,omitzero"` // opened: which key the hashes are under
	Bytes   int64  `json:"bytes,omitzero"`       // recovered: how many were cut off
	SHA256  string `json:"sha256,omitzero"`      // recovered: of them
	Kept    string `json:"kept,omitzero"`        // recovered: the file they are in
	Through uint64 `json:"through,omitzero"`     // checkpoint: the last record it vouches for
	Hash    Hash   `json:"hash,omitzero"`        // checkpoint: of that record's line
	Sig     string `json:"sig,omitzero"`         // checkpoint: ES256, r then s, base64url
}

// RecordedClaim is a claim in a record: with its value where it may be shown,
// and else with the first 16 bytes of the value's HMAC-SHA256.
type RecordedClaim struct {
	Name  string         `json:"name"`
	Value jsontext.Value `json:"value,omitzero"`
	HMAC  string         `json:"hmac,omitzero"`
}

// ParseLine reads one line of a log, with its newline or without. Members that
// it does not know are left out; a type that it does not know is an error.
func ParseLine(line []byte) (Record, error) {
	var r Record
	if len(line) > maxLine {
		return Record{}, fmt.Errorf("longer than %d bytes", maxLine)
	}
	if !bytes.HasPrefix(line, []byte(linePrefix)) {
		return Record{}, errors.New("not a record")
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("not a record: %w", hideText(err))
	}
	switch r.Type {
	case typeOpened, typeRotated, typeRecovered, typeIntent, typeResult, typeNote, typeAct, typeCheckpoint:
	default:
		return Record{}, fmt.Errorf("not a record of a type known to this version: %.20q", r.Type)
	}
	if r.Seq == 0 {
		return Record{}, errors.New("not a record: its number is 0")
	}
	return r, nil
}

// hideText reduces a decoder's error to where it is: it may repeat the line.
func hideText(err error) error {
	if at, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("JSON at byte %d", at.ByteOffset)
	}
	if at, ok := errors.AsType[*json.SemanticError](err); ok {
		return fmt.Errorf("value of %s", at.JSONPointer)
	}
	return errors.New("JSON")
}

// begins says whether the record is one that a file may begin with.
func (r *Record) begins() bool { return r.Type == typeOpened || r.Type == typeRotated }

func hashOf(line []byte) Hash { return sha256.Sum256(line) }
