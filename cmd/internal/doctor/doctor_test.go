package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

// start is a time in the middle of a second.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC) }

// examOf returns an exam of a configuration, whose backends nobody can open.
func examOf(t *testing.T, yaml string) *Exam {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(yaml), func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return &Exam{Config: cfg, Now: start, Store: func(string) Store { return Store{} }}
}

// wantFindings compares findings with "severity what" pieces, in their order:
// each has to be in the text of its finding.
func wantFindings(t *testing.T, got []Finding, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d: %+v", len(got), len(want), got)
	}
	for i, f := range got {
		severity, piece, _ := strings.Cut(want[i], " ")
		if string(f.Severity) != severity || !strings.Contains(f.What, piece) {
			t.Errorf("finding %d is %+v, want %s", i, f, want[i])
		}
		if f.Severity != Note && f.Mend == "" {
			t.Errorf("finding %d has no mend: %+v", i, f)
		}
	}
}

const plain = `
listeners: [{unix: {path: /run/jotsmith/s}}]
backends: {local: {uri: "file:/keys"}}
keys: {k: {backend: local, id: k.pem, kid: k1}}
profiles: {p: {preset: jwt, key: k, claims: {iss: {fixed: "https://id.example.org"}, aud: {fixed: a}}, default_ttl: 60s}}
`

func TestNotesAreNotWrong(t *testing.T) {
	if Wrong(nil) || Wrong([]Finding{{Severity: Note}}) || !Wrong([]Finding{{Severity: Note}, {Severity: Warning}}) || !Wrong([]Finding{{Severity: Fault}}) {
		t.Error("Wrong")
	}
}

func TestAnErrorIsSplitFromItsMend(t *testing.T) {
	for text, want := range map[string][2]string{
		"k.pem: its mode 0644 lets everyone use it: run chmod 600 k.pem": {"k.pem: its mode 0644 lets everyone use it", "run chmod 600 k.pem"},
		"k.pem: permission denied: let uid 7 read it: run chown 7 on it": {"k.pem: permission denied", "let uid 7 read it: run chown 7 on it"},
		"nobody answers": {"nobody answers", "else"},
	} {
		f := fromError(Fault, "s", errorText(text), "else")
		if f.What != want[0] || f.Mend != want[1] {
			t.Errorf("%q is %+v", text, f)
		}
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }
