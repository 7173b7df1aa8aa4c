package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service/claims"
)

// TestExamplesOfThePresetsWork takes the example of each preset at its word.
func TestExamplesOfThePresetsWork(t *testing.T) {
	presets, err := config.Presets()
	if err != nil {
		t.Fatal(err)
	}
	for name, preset := range presets {
		t.Run(name, func(t *testing.T) {
			shown, err := showPreset(name)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Parse("jotsmith.yaml", []byte(`
listeners: [{unix: {path: /run/s}}]
backends: {local: {uri: "file:/keys"}}
keys: {my-key: {backend: local, id: k.pem, kid: ABC123DEFG}}
`+shown.example), checkURI)
			if err != nil {
				t.Fatalf("%v\n%s", err, shown.example)
			}
			if _, err := explainOffline(cfg, "my-profile", claims.Request{}, time.Now()); err != nil {
				t.Error(err)
			}
			// Every rule of the preset is among those shown.
			var names []string
			for _, d := range shown.Decisions {
				names = append(names, d.Name)
				if d.Rule == "" {
					t.Errorf("%s: a rule without words", d.Name)
				}
			}
			for claim, rule := range preset.GetProfile().GetClaims() {
				if !slices.Contains(names, claim) {
					t.Errorf("nothing is said of the claim %s", claim)
				}
				if rule.GetDoc() == "" {
					t.Errorf("nothing says who demands the claim %s", claim)
				}
			}
			for _, variant := range preset.GetVariants().GetValues() {
				for claim := range variant.GetClaims() {
					if !slices.Contains(names, claim) {
						t.Errorf("nothing is said of the claim %s", claim)
					}
				}
			}
			var text bytes.Buffer
			if err := shown.print(&text, "text"); err != nil {
				t.Fatal(err)
			}
			rules, _, _ := strings.Cut(text.String(), "\n"+shown.title)
			for line := range strings.Lines(rules) {
				if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > pageWidth && strings.Contains(strings.TrimSpace(line), "  ") {
					t.Errorf("a line of %d characters: %s", utf8.RuneCountInString(line), line)
				}
			}
		})
	}
}

func TestExpiryInWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		away time.Duration
		want string
		look bool
	}{
		{180 * 24 * time.Hour, "2027-05-22 (in 180 days)", false},
		{soon, "2026-12-23 (in 30 days)", false},
		{soon - time.Second, "! 2026-12-23 (in 29 days)", true},
		{47 * time.Hour, "! 2026-11-25 (in 47 hours)", true},
		{90 * time.Minute, "! 2026-11-23 (in 90 minutes)", true},
		{0, "! 2026-11-23 (ended 0 minutes ago)", true},
		{-72 * time.Hour, "! 2026-11-20 (ended 3 days ago)", true},
	} {
		if text, look := expiryInWords(now.Add(tt.away), now); text != tt.want || look != tt.look {
			t.Errorf("%s: %q, %t; want %q, %t", tt.away, text, look, tt.want, tt.look)
		}
	}
}

func TestSpanIsWrittenAsFlagsTakeIt(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Minute:              "10m",
		time.Hour:                     "1h",
		90 * time.Second:              "1m30s",
		4382*time.Hour + 30*60*1e9:    "4382h30m",
		30 * time.Second:              "30s",
		time.Hour + 10*time.Second:    "1h0m10s",
		100 * time.Hour:               "100h",
		20*time.Hour + 20*time.Minute: "20h20m",
	} {
		got := span(d)
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%s: %q, want %q (%v)", d, got, want, err)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"apple/apns", "apple/app-store-connect-team", "apple/maps", "jwt", "vapid"}
	for name, want := range map[string][]string{
		"apns":                         {"apple/apns"},
		"jtw":                          {"jwt"},
		"App-Store":                    {"apple/app-store-connect-team"},
		"apple/app-store-conect-team":  {"apple/app-store-connect-team"},
		"apple/mapkit":                 {"apple/maps", "apple/apns"},
		"something else altogether 12": nil,
	} {
		if diff := cmp.Diff(want, nearest(name, known)); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}
	if got := distance("kitten", "sitting"); got != 3 {
		t.Errorf("distance %d", got)
	}
}

func TestProfileYAMLStandsAsInTheFile(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"the last", "keys: {}\nprofiles:\n  a: {key: k}\n  # of b\n  b:\n    # inside\n    key: k # beside\n\n# of grants\ngrants: []\n", "profiles:\n  # of b\n  b:\n    # inside\n    key: k # beside\n"},
		{"a comment at the margin", "profiles:\n  b:\n    key: k\n# margin\n    typ: x\n  c: {}\n", "profiles:\n  b:\n    key: k\n  # margin\n    typ: x\n"},
		{"on one line", "profiles:\n  b: {key: k, typ: x}\n  c: {}\n", "profiles:\n  b: {key: k, typ: x}\n"},
		{"without an end", "profiles:\n    b:\n      key: k", "profiles:\n  b:\n    key: k\n"},
		{"at the margin of CRLF", "profiles:\r\n  b:\r\n    key: k\r\n", "profiles:\n  b:\n    key: k\n"},
		{"JSON", `{"profiles": {"a": {}, "b": {"key": "k"}}}`, "profiles:\n  \"b\": {\"key\": \"k\"}\n"},
	} {
		got, err := profileYAML([]byte(tt.file), "b")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestTableKeepsToItsLines(t *testing.T) {
	var b bytes.Buffer
	if err := printTable(&b, [][]string{{"NAME", "DESCRIPTION"}, {"ä", "two\nlines\x1b[1m"}, {"long", ""}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("NAME  DESCRIPTION\nä     two lines [1m\nlong\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestRowsBreakAtBlanks(t *testing.T) {
	var b bytes.Buffer
	p := &page{w: &b}
	long := strings.Repeat("x", pageWidth)
	p.row("a", 3, "one  two "+long+noBreak+"[1] "+strings.Repeat("word ", 20)+"end")
	want := "  a    one  two\n       " + long + " [1]\n" +
		"       " + strings.TrimSpace(strings.Repeat("word ", 18)) + "\n       word word end\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
