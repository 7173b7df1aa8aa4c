package audit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checkpointKey is a key and how it signs.
func checkpointKey(t testing.TB) (*ecdsa.PrivateKey, func(context.Context, [32]byte) ([64]byte, string, error)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, func(_ context.Context, digest [32]byte) (sig [64]byte, kid string, err error) {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err == nil {
			r.FillBytes(sig[:32])
			s.FillBytes(sig[32:])
		}
		return sig, "cp", err
	}
}

// signedLog writes two files with a checkpoint in each, and returns their
// lines.
func signedLog(t testing.TB) (dir string, files map[string][]string, key *ecdsa.PrivateKey) {
	t.Helper()
	cfg := config(t)
	key, sign := checkpointKey(t)
	cfg.Checkpoint = &Checkpoint{EveryRecords: 1000, Sign: sign}
	l := mustOpen(t, cfg)
	files = map[string][]string{}
	dir = filepath.Dir(cfg.Path)
	for _, name := range []string{"audit.1-6.jsonl", "audit.jsonl"} {
		mint(t, l, "1")
		mint(t, l, "2")
		if err := l.sign(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if name != "audit.jsonl" {
			if err := errors.Join(os.Rename(cfg.Path, filepath.Join(dir, name)), l.Reopen()); err != nil {
				t.Fatal(err)
			}
		}
	}
	mint(t, l, "3")
	_ = l.Close()
	for _, name := range []string{"audit.1-6.jsonl", "audit.jsonl"} {
		files[name] = slices.Collect(strings.Lines(read(t, filepath.Join(dir, name))))
	}
	return dir, files, key
}

// TestVerifyFindsEveryTampering numbers the lines of a file from 1, as its
// faults do.
func TestVerifyFindsEveryTampering(t *testing.T) {
	const one, two = "audit.1-6.jsonl", "audit.jsonl"
	sub := func(lines []string, line int, before, after string) []string {
		changed := strings.Replace(lines[line-1], before, after, 1)
		if changed == lines[line-1] {
			panic("nothing was changed in " + changed)
		}
		lines[line-1] = changed
		return lines
	}
	for name, c := range map[string]struct {
		file   string
		change func(lines []string) []string
		kind   FaultKind
		at     string // where, as file:line
		seq    uint64
	}{
		"a value":                   {one, func(l []string) []string { return sub(l, 2, `"grant":"ci"`, `"grant":"cd"`) }, Changed, one + ":2", 2},
		"a space":                   {one, func(l []string) []string { return sub(l, 3, `"result"`, ` "result"`) }, Changed, one + ":3", 3},
		"a line break":              {one, func(l []string) []string { return sub(l, 3, "\n", "\r\n") }, Changed, one + ":3", 3},
		"a hash":                    {one, func(l []string) []string { return sub(l, 4, `"prev":"`+l[3][17:21], `"prev":"0000`) }, Changed, one + ":4", 4},
		"a time":                    {two, func(l []string) []string { return sub(l, 3, "T12:00:00Z", "T12:00:01Z") }, Changed, two + ":3", 9},
		"a number":                  {one, func(l []string) []string { return sub(l, 3, `"seq":3`, `"seq":5`) }, Changed, one + ":3", 5},
		"a type":                    {one, func(l []string) []string { return sub(l, 3, `"type":"result"`, `"type":"other"`) }, Changed, one + ":3", 0},
		"no JSON":                   {one, func(l []string) []string { return sub(l, 3, `"outcome"`, `"outcome`) }, Changed, one + ":3", 0},
		"the last of a file":        {one, func(l []string) []string { return sub(l, 6, `"kid":"cp"`, `"kid":"cq"`) }, Signature, one + ":6", 6},
		"the first of a file":       {two, func(l []string) []string { return sub(l, 1, `"sync":"none"`, `"sync":"batch"`) }, Changed, two + ":1", 7},
		"the first of all":          {one, func(l []string) []string { return sub(l, 1, `"sync":"none"`, `"sync":"batch"`) }, Changed, one + ":1", 1},
		"one missing":               {one, func(l []string) []string { return slices.Delete(l, 2, 3) }, Missing, one + ":3", 4},
		"several missing":           {two, func(l []string) []string { return slices.Delete(l, 2, 5) }, Missing, two + ":3", 12},
		"the first missing":         {one, func(l []string) []string { return slices.Delete(l, 0, 1) }, Changed, one + ":1", 2},
		"a second's first missing":  {two, func(l []string) []string { return slices.Delete(l, 0, 1) }, Changed, two + ":1", 8},
		"a file's end missing":      {one, func(l []string) []string { return l[:5] }, Gap, two + ":1", 7},
		"two in the other order":    {one, func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, Reordered, one + ":3", 4},
		"one further down":          {one, func(l []string) []string { return []string{l[0], l[1], l[3], l[4], l[2], l[5]} }, Reordered, one + ":3", 4},
		"one twice":                 {one, func(l []string) []string { return slices.Insert(l, 3, l[2]) }, Duplicated, one + ":4", 3},
		"one again later":           {one, func(l []string) []string { return slices.Insert(l, 5, l[1]) }, Duplicated, one + ":6", 2},
		"one for another":           {one, func(l []string) []string { l[3] = l[1]; return l }, Changed, one + ":4", 2},
		"one put in":                {one, func(l []string) []string { return slices.Insert(l, 3, strings.Replace(l[2], `"seq":3`, `"seq":4`, 1)) }, Changed, one + ":4", 4},
		"an empty line":             {one, func(l []string) []string { return slices.Insert(l, 3, "\n") }, Changed, one + ":4", 0},
		"half a line at the end":    {two, func(l []string) []string { return sub(l, 8, "\n", "") }, Truncated, two + ":8", 0},
		"half a line in the middle": {one, func(l []string) []string { return sub(l, 6, "\n", "") }, Changed, one + ":6", 0},
		"a line of megabytes":       {one, func(l []string) []string { return sub(l, 3, `"j-1"`, `"`+strings.Repeat("j", 2<<20)+`"`) }, Changed, one + ":3", 0},
		"a signature": {two, func(l []string) []string {
			return rechain(sub(l, 6, `"sig":"`+l[5][strings.Index(l[5], `"sig":"`)+7:][:4], `"sig":"AAAA`), 6)
		}, Signature, two + ":6", 12},
		"a checkpoint's hash":       {two, func(l []string) []string { return rechain(sub(l, 6, `"through":11`, `"through":10`), 6) }, Signature, two + ":6", 12},
		"the chain made again":      {two, func(l []string) []string { return rechain(sub(l, 3, `"minted"`, `"failed"`), 3) }, Signature, two + ":6", 12},
		"a result of the future":    {two, func(l []string) []string { return rechain(sub(l, 8, `"intent":13`, `"intent":99`), 8) }, Changed, two + ":8", 14},
		"all checkpoints taken out": {two, func(l []string) []string { return rechain(slices.Delete(l, 5, 6), 1) }, Missing, two + ":6", 13},
	} {
		t.Run(name, func(t *testing.T) {
			dir, files, key := signedLog(t)
			files[c.file] = c.change(files[c.file])
			paths := []string{filepath.Join(dir, two)}
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(strings.Join(files[c.file], "")), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(t.Context(), append(paths, filepath.Join(dir, one)), Key{"cp", &key.PublicKey})
			var fault *Fault
			if !errors.As(err, &fault) {
				t.Fatalf("verify: %v", err)
			}
			at := filepath.Base(fault.File) + ":" + strconv.Itoa(fault.Line)
			if fault.Kind != c.kind || at != c.at || fault.Seq != c.seq {
				t.Errorf("fault %v\nwant %s of record %d at %s", fault, c.kind, c.seq, c.at)
			}
		})
	}
}

// rechain does what somebody does who can write the file: every hash from a
// line on is made again.
func rechain(lines []string, from int) []string {
	for i := from; i < len(lines); i++ {
		at := strings.Index(lines[i], `"prev":"`) + 8
		lines[i] = lines[i][:at] + hashOf([]byte(lines[i-1])).String() + lines[i][at+64:]
	}
	return lines
}

func TestVerifyReports(t *testing.T) {
	dir, files, key := signedLog(t)
	r, err := Verify(t.Context(), []string{dir, filepath.Join(dir, "audit.jsonl")}, Key{"", &key.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Files: 2, Records: 14, First: 1, Last: 14, FirstTime: noon, LastTime: noon,
		LastHash: hashOf([]byte(files["audit.jsonl"][7])), Checkpoints: 2, Through: 11, Signatures: true,
	}
	if r != want {
		t.Errorf("report %+v\nwant   %+v", r, want)
	}
	r = mustVerify(t, filepath.Join(dir, "audit.jsonl"))
	if r.From != "audit.1-6.jsonl" || r.First != 7 || r.Signatures {
		t.Errorf("second file alone: %+v", r)
	}
	other, _ := checkpointKey(t)
	for _, keys := range [][]Key{{{"cp", &other.PublicKey}}, {{"unknown", &key.PublicKey}}} {
		var fault *Fault
		if _, err := Verify(t.Context(), []string{dir}, keys...); !errors.As(err, &fault) || fault.Kind != Signature || fault.Seq != 6 {
			t.Errorf("wrong key: %v", err)
		}
	}
}

func TestLogWithoutCheckpointsDoesNotVerifyWithAKey(t *testing.T) {
	cfg := config(t)
	mint(t, mustOpen(t, cfg), "x")
	key, _ := checkpointKey(t)
	var fault *Fault
	if _, err := Verify(t.Context(), []string{cfg.Path}, Key{"", &key.PublicKey}); !errors.As(err, &fault) || fault.Kind != Unsigned {
		t.Errorf("verify: %v", err)
	}
}

func TestVerifyWhileTheLogIsWritten(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			_ = l.Note(t.Context(), anIntent(), Result{})
		}
	}()
	for writing := true; writing; {
		mustVerify(t, cfg.Path)
		select {
		case <-done:
			writing = false
		default:
		}
	}
	if r := mustVerify(t, cfg.Path); r.Records != 3001 {
		t.Errorf("report %+v", r)
	}
}

// TestCheckpointsAreWritten has Run sign by time, by number, after a failure
// and at the end.
func TestCheckpointsAreWritten(t *testing.T) {
	cfg := config(t)
	key, sign := checkpointKey(t)
	synctest.Test(t, func(t *testing.T) {
		failing := errors.New("no key store")
		var failed atomic.Bool
		var asked atomic.Int64
		cfg.Checkpoint = &Checkpoint{Every: time.Hour, EveryRecords: 10, Sign: func(ctx context.Context, digest [32]byte) ([64]byte, string, error) {
			if asked.Add(1); failed.Load() {
				return [64]byte{}, "", failing
			}
			return sign(ctx, digest)
		}}
		l := mustOpen(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- l.Run(ctx) }()
		want := func(checkpoints int, through uint64) {
			t.Helper()
			synctest.Wait()
			r, err := Verify(t.Context(), []string{cfg.Path}, Key{"cp", &key.PublicKey})
			if err != nil || r.Checkpoints != checkpoints || r.Through != through {
				t.Errorf("report %+v, %v; want %d checkpoints to %d", r, err, checkpoints, through)
			}
		}
		mint(t, l, "x") // records 2 and 3
		time.Sleep(time.Hour)
		want(1, 3)
		time.Sleep(5 * time.Hour) // nothing new
		want(1, 3)
		for range 5 { // 5 to 14
			mint(t, l, "x")
		}
		want(2, 14)
		failed.Store(true)
		mint(t, l, "x") // 16 and 17
		time.Sleep(61 * time.Minute)
		if want(2, 14); asked.Load() < 4 {
			t.Errorf("asked %d times", asked.Load())
		}
		failed.Store(false)
		time.Sleep(time.Minute)
		want(3, 17)
		mint(t, l, "x") // 19 and 20
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		want(4, 20)
		_ = l.Close()
	})
}
