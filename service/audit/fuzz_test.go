package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzParseLine(f *testing.F) {
	_, files, _ := signedLog(f)
	for _, lines := range files {
		for _, line := range lines {
			f.Add([]byte(line))
		}
	}
	f.Add([]byte(`{"seq":18446744073709551615,"prev":"","type":"intent"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseLine(line)
		if err != nil {
			if strings.Contains(err.Error(), "eyJ") || len(err.Error()) > 2000 {
				t.Errorf("error repeats the line: %v", err)
			}
			return
		}
		if r.Seq == 0 || r.Type == "" {
			t.Errorf("record %+v", r)
		}
	})
}

// FuzzVerify changes one stretch of a signed log. Whatever it is, it is a fault,
// in the place or ahead of it, unless it is behind all that is vouched for.
func FuzzVerify(f *testing.F) {
	_, files, key := signedLog(f)
	whole := strings.Join(files["audit.1-6.jsonl"], "") + strings.Join(files["audit.jsonl"], "")
	vouched := len(whole) - len(files["audit.jsonl"][7]) // the last record has nothing after it
	f.Add(uint16(10), uint16(1), []byte("x"))
	f.Add(uint16(500), uint16(400), []byte{})
	f.Add(uint16(0), uint16(0), []byte("\n"))
	f.Fuzz(func(t *testing.T, at, size uint16, with []byte) {
		start := int(at) % vouched
		end := min(start+int(size), vouched)
		text := whole[:start] + string(with) + whole[end:]
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Verify(t.Context(), []string{path}, Key{"cp", &key.PublicKey})
		fault, ok := errors.AsType[*Fault](err)
		switch {
		case text == whole && err != nil:
			t.Errorf("the log as it was: %v", err)
		case text != whole && !ok:
			if r, _ := Verify(t.Context(), []string{path}); r.First == 1 {
				t.Errorf("changed at %d, and not found: %v", start, err)
			}
		case ok && fault.Line > strings.Count(text, "\n")+1:
			t.Errorf("fault in line %d", fault.Line)
		}
	})
}
