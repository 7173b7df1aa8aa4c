package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeSnippets runs the README's sh snippets one after the other in one
// shell, as a newcomer would type them, with its Go and Python programs where
// they stand.
func TestReadmeSnippets(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	program := filepath.Join(root, ".cache", "readme")
	if err := os.MkdirAll(program, 0o750); err != nil {
		t.Fatal(err)
	}
	downloadKey(t, filepath.Join(home, "Downloads"))

	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	kinds := map[string]int{}
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		kind, text := block[1], block[2]
		kinds[kind]++
		switch kind {
		case "sh":
			script.WriteString(text)
		case "go":
			write(t, filepath.Join(program, "main.go"), text)
			script.WriteString("go run ./.cache/readme\n")
		case "python":
			write(t, filepath.Join(home, "snippet.py"), text)
			script.WriteString("PYTHONPATH=clients/python/src python ~/snippet.py\n")
		case "text": // not for this machine
		default:
			t.Errorf("nobody runs a snippet of kind %q", kind)
		}
	}
	if kinds["sh"] < 5 || kinds["go"] != 1 || kinds["python"] != 1 {
		t.Errorf("snippets found: %v", kinds)
	}

	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "HOME="+home, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"),
		"PATH="+filepath.Join(root, ".cache", "python", "venv", "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The shell, Go and Python each printed a token; of the same second it is
	// the same one.
	tokens := regexp.MustCompile(`(?m)^eyJ[\w-]+\.[\w-]+\.[\w-]{86}$`).FindAllString(string(out), -1)
	if len(tokens) < 3 {
		t.Errorf("%d tokens in:\n%s", len(tokens), out)
	}
	for _, want := range []string{"jotsmith.yaml is fine", `{"token":"eyJ`, `"GET /v1/apps"`, `"verified": "yes, by key 2X9R4HXF34"`, `"msg":"stopping"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
}

// TestReadmeLinksLeadSomewhere follows the links between our own pages.
func TestReadmeLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, page := range append(append(pages, more...), "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), match[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, match[1])
			}
		}
	}
	if links < 10 {
		t.Errorf("only %d links were followed", links)
	}
}

// downloadKey puts a key where a browser would have.
func downloadKey(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "AuthKey_2X9R4HXF34.p8"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
