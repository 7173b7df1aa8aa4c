package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestLoadRefusesAFileOf1GiBWithoutReadingIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(file, []byte("log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<30); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Load(file, checkURI)
	runtime.ReadMemStats(&after)
	if want := file + ":1:1 the file is larger than 1048576 bytes"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

func TestLoadReadsStandardInput(t *testing.T) {
	data, err := os.ReadFile("testdata/minimal.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load("<stdin>", strings.NewReader(string(data)), checkURI); err != nil {
		t.Error(err)
	}
	_, err = load("<stdin>", strings.NewReader("x: 1\n"), checkURI)
	if err == nil || !strings.HasPrefix(err.Error(), "<stdin>:1:1 unknown field") {
		t.Error(err)
	}
	_, err = load("<stdin>", strings.NewReader(strings.Repeat(" ", MaxSize+1)), checkURI)
	if err == nil || err.Error() != "<stdin>:1:1 the file is larger than 1048576 bytes" {
		t.Error(err)
	}
}

// No file keeps a check busy, and every error is one that a terminal can take.
// The files are a sixteenth of the greatest size: what grows faster than its
// file shows there too.
func TestHostileFilesAreRefusedInBoundedTime(t *testing.T) {
	const n = MaxSize / 16
	for name, text := range map[string]string{
		"nested lists":            "x: " + strings.Repeat("[", n),
		"nested mappings":         strings.Repeat("{a: ", n/4),
		"nested block lists":      strings.Repeat("- ", n/2),
		"nested complex keys":     strings.Repeat("? ", n/2),
		"nested fixed values":     "profiles: {a: {claims: {b: {fixed: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}}}}",
		"a long word":             strings.Repeat("a", n),
		"a long key":              strings.Repeat("a", n) + ": 1",
		"many unknown keys":       manyLines(n/10, "k%d: 1"),
		"many items":              "listeners: [" + strings.Repeat("a,", n/2-16) + "]",
		"many anchors":            manyLines(n/12, "- &a%d b"),
		"many aliases":            "x: &a b\ny: [" + strings.Repeat("*a,", n/3-16) + "]",
		"one key many times":      strings.Repeat("a: 1\n", n/5),
		"many documents":          strings.Repeat("--- a\n", n/6),
		"many comments":           strings.Repeat("#\n", n/2),
		"NUL":                     strings.Repeat("\x00", n),
		"many blanks":             strings.Repeat(" ", n),
		"many tabs":               strings.Repeat("\t", n),
		"an open quote":           "a: \"" + strings.Repeat("x\\n", n/3-8),
		"a folded text":           "a: >\n" + strings.Repeat(" b\n\n", n/4-8),
		"many directives":         strings.Repeat("%YAML 1.2\n", n/10),
		"a great number":          "limits: {max_connections: " + strings.Repeat("9", n) + "}",
		"a long duration":         "limits: {request_timeout: " + strings.Repeat("9", n) + "s}",
		"a duration of many":      "limits: {request_timeout: " + strings.Repeat("1s", n/2-32) + "}",
		"a number in a fixed":     "profiles: {a: {claims: {b: {fixed: 1" + strings.Repeat("0", n-64) + "}}}}",
		"an exponent, fixed":      "profiles: {a: {claims: {b: {fixed: 1e" + strings.Repeat("9", n-64) + "}}}}",
		"many broken rules":       "grants: [" + strings.Repeat("{},", n/3-16) + "]",
		"many broken rules below": "grants: [" + strings.Repeat("{callers: ["+strings.Repeat("{},", 1000)+"]},", n/3100) + "]",
		"a pattern that repeats":  "profiles: {a: {key: a, preset: jwt, claims: {b: {caller: {pattern: \"" + strings.Repeat("(a{1,30})", 100) + "\"}}}}}",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("hostile.yaml", []byte(text), checkURI)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if len(err.Error()) > 64<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func manyLines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// An organisation of a thousand profiles on one key is not kept waiting.
func TestManyProfilesOnOneKeyLoad(t *testing.T) {
	var b strings.Builder
	b.WriteString(`listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {svc: {backend: files, id: svc.pem, kid: svc}}
profiles:
`)
	for i := range 1000 {
		fmt.Fprintf(&b, "  p%d: {key: svc, preset: jwt, claims: {iss: {fixed: i}, aud: {fixed: [a%d, b%d]}}}\n", i, i, i)
	}
	b.WriteString("grants:\n")
	for i := range 4096 {
		fmt.Fprintf(&b, "  - {name: g%d, callers: [{unix: {uid: %d}}], profiles: [p%d]}\n", i, i, i%1000)
	}
	start := time.Now()
	c, err := Parse("many.yaml", []byte(b.String()), checkURI)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in %v", b.Len(), time.Since(start))
	if len(c.ClaimProfiles) != 1000 || len(c.PolicyRules) != 4096 {
		t.Errorf("%d profiles, %d rules", len(c.ClaimProfiles), len(c.PolicyRules))
	}
}
