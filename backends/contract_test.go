package backends_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryBackendRunsTheContract fails when a directory beside this file has
// no test that calls backendtest.Run. It reads the source, because a backend
// that this build leaves out, for want of cgo or of its system, counts too.
func TestEveryBackendRunsTheContract(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	backends := 0
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || name == "backendtest" || name == "testdata" || strings.HasPrefix(name, ".") {
			continue
		}
		sources, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(sources) == 0 {
			continue
		}
		backends++
		t.Run(name, func(t *testing.T) {
			for _, source := range sources {
				if strings.HasSuffix(source, "_test.go") && callsContract(t, source) {
					return
				}
			}
			t.Errorf("no test in backends/%s calls backendtest.Run: add one with a Harness over the real store, as docs/backends/README.md says", name)
		})
	}
	if backends == 0 {
		t.Error("no backend found beside this test")
	}
}

// callsContract says whether a Test function in the file calls Run of the
// package backendtest, under whatever name it was imported.
func callsContract(t *testing.T, source string) bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	pkg := ""
	for _, imported := range file.Imports {
		path, err := strconv.Unquote(imported.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if path != "github.com/jotsmith/jotsmith/backends/backendtest" {
			continue
		}
		if pkg = "backendtest"; imported.Name != nil {
			pkg = imported.Name.Name
		}
	}
	if pkg == "" {
		return false
	}
	found := false
	for _, decl := range file.Decls {
		test, ok := decl.(*ast.FuncDecl)
		if !ok || test.Recv != nil || test.Body == nil || !strings.HasPrefix(test.Name.Name, "Test") {
			continue
		}
		ast.Inspect(test.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || selector.Sel.Name != "Run" {
				return true
			}
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == pkg {
				found = true
			}
			return true
		})
	}
	return found
}
