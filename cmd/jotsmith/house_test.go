package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/jotsmith/jotsmith"

// TestImportsPointDown reads the import graph of the program and fails on an
// arrow that points up: from a step of the data path to a later one, from a
// backend to anything but package backends, from anything to cmd.
func TestImportsPointDown(t *testing.T) {
	allowed := map[string][]string{
		"service/token":      {},
		"service/metrics":    {},
		"service/authn":      {},
		"service/policy":     {"service/authn"},
		"service/claims":     {"service/policy"},
		"service/clock":      {},
		"service/statefile":  {"backends"},
		"service/ledger":     {"service/statefile"},
		"service/audit":      {"service/metrics", "backends"},
		"service/halt":       {"service/statefile"},
		"service/rotation":   {"service/statefile"},
		"service/quota":      {"service/policy"},
		"service/publish":    {},
		"service/authn/oidc": {"service/authn"},
		"service/signer":     {"service/claims", "service/metrics", "service/token", "backends"},
		"service/reuse":      {"service/claims", "service/clock", "service/signer", "service/token", "backends"},
		"service/httpjson":   {},
		"service": {
			"service/authn", "service/policy", "service/claims", "service/clock", "service/reuse",
			"service/signer", "service/ledger", "service/audit", "service/halt", "service/quota", "service/metrics", "service/publish",
			"service/rotation", "service/httpjson",
			"backends", "proto/jotsmith/v1",
		},
		"service/authn/spiffe": {"service/authn"},

		"backends": {},
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		for _, imported := range pkg.Imports {
			to, ours := strings.CutPrefix(imported, module+"/")
			if ours && !mayImport(allowed, name, to) {
				t.Errorf("%s imports %s", name, to)
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

func mayImport(allowed map[string][]string, from, to string) bool {
	list, listed := allowed[from]
	switch {
	case listed:
		return slices.Contains(list, to)
	case strings.HasPrefix(from, "cmd/"):
		return true
	case strings.HasPrefix(to, "cmd/"):
		return false
	case from == "service/servicetest": // runs everything below cmd
		return true
	case from == "clients/go": // what a program of another module takes in with it
		return to == "proto/jotsmith/v1"
	case strings.HasPrefix(from, "clients/"): // its tests see the program from outside, and make callers for it
		return strings.HasPrefix(to, "clients/") || to == "proto/jotsmith/v1" || to == "service/authn/authntest"
	case strings.HasPrefix(to, "clients/"):
		return false
	case strings.HasPrefix(from, "backends/"):
		// A backend may have packages of its own below it.
		return to == "backends" || strings.HasPrefix(to, strings.Join(strings.SplitN(from, "/", 3)[:2], "/")+"/")
	default: // proto, and whatever comes without a rule
		return strings.HasPrefix(from, "proto/") && strings.HasPrefix(to, "proto/")
	}
}

// TestShapeOfTheHouse checks what docs/design.md says of sizes and names.
func TestShapeOfTheHouse(t *testing.T) {
	const longest = 600
	walk(t, func(file string) {
		dir := path.Base(path.Dir(file))
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "pkg"}, dir) {
			t.Errorf("%s: a package named %s says nothing", file, dir)
		}
		if path.Ext(file) != ".go" || strings.HasSuffix(file, ".pb.go") {
			return
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for scan := bufio.NewScanner(bytes.NewReader(source)); scan.Scan(); lines++ {
			if strings.HasPrefix(scan.Text(), "func init()") {
				t.Errorf("%s:%d: registers itself in init; say it in cmd/jotsmith", file, lines+1)
			}
		}
		if lines > longest {
			t.Errorf("%s has %d lines; %d is the most", file, lines, longest)
		}
	})
}

// TestOnlyTheKeyCommandsMakeKeys keeps what serves from reaching a Generator or
// an Importer. That no backend hands one out as what it opens to serve is a part
// of the backends' contract; here, nobody but the two commands opens a maker, and
// no package of the service knows of such a thing.
func TestOnlyTheKeyCommandsMakeKeys(t *testing.T) {
	makers := []string{"OpenMaker", "openMaker", "Generator", "Importer", "Making", "PrivateKey"}
	allowed := map[string][]string{
		"backends.go":     {"OpenMaker", "openMaker", "PrivateKey"}, // the list, and the reader of key files
		"key_make.go":     {"Making"},
		"key_generate.go": {"openMaker", "Generator"},
		"key_import.go":   {"openMaker", "Importer", "PrivateKey"},
	}
	met := map[string]bool{}
	walk(t, func(file string) {
		inTests := strings.HasSuffix(file, "_test.go") || strings.HasSuffix(path.Dir(file), "test") || strings.Contains(file, "/clients/conformance/")
		if path.Ext(file) != ".go" || inTests || strings.Contains(file, "/backends/") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(makers, selector.Sel.Name) {
				return true
			}
			if x, ok := selector.X.(*ast.Ident); ok && (x.Name == "ecdsa" || x.Name == "rsa" || x.Name == "crypto") {
				return true
			}
			met[selector.Sel.Name] = true
			if path.Dir(file) != "../../cmd/jotsmith" || !slices.Contains(allowed[path.Base(file)], selector.Sel.Name) {
				t.Errorf("%s uses %s: only the commands that make keys do", file, selector.Sel.Name)
			}
			return true
		})
	})
	for _, name := range []string{"OpenMaker", "openMaker", "Generator", "Importer", "Making"} {
		if !met[name] {
			t.Errorf("%s was not met: what is looked for has another name", name)
		}
	}
}

// TestOnlyTheBackendListNamesBackends keeps a new backend to one line here.
func TestOnlyTheBackendListNamesBackends(t *testing.T) {
	walk(t, func(file string) {
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/backends/") || strings.Contains(file, "cmd/internal/") {
			return
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, backend := range []string{"filekey", "awskms", "pkcs11"} {
			if bytes.Contains(source, []byte(module+"/backends/"+backend)) && path.Base(file) != "backends.go" {
				t.Errorf("%s imports %s; only cmd/jotsmith/backends.go does", file, backend)
			}
		}
	})
}

// walk visits the files of the tree, without what is not the project's own.
func walk(t *testing.T, visit func(file string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir("../..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name != ".." && (strings.HasPrefix(name, ".") || name == "bin" || name == "third_party") {
				return filepath.SkipDir
			}
			return nil
		}
		files++
		visit(filepath.ToSlash(file))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}
