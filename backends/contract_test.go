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
// no test that calls backendtest.Run, or makes keys and has no test that calls
// backendtest.RunMaker. It reads the source, because a backend that this build
// leaves out, for want of cgo or of its system, counts too.
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
			runs, makes, runsMaker := false, false, false
			for _, source := range sources {
				if strings.HasSuffix(source, "_test.go") {
					runs = runs || callsContract(t, source, "Run")
					runsMaker = runsMaker || callsContract(t, source, "RunMaker")
				} else {
					makes = makes || declares(t, source, "OpenMaker")
				}
			}
			if !runs {
				t.Errorf("no test in backends/%s calls backendtest.Run: add one with a Harness over the real store, as docs/backends/README.md says", name)
			}
			if makes && !runsMaker {
				t.Errorf("backends/%s has an OpenMaker, and no test there calls backendtest.RunMaker: add one, as docs/backends/README.md says", name)
			}
		})
	}
	if backends == 0 {
		t.Error("no backend found beside this test")
	}
}

func parse(t *testing.T, source string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// declares says whether the file has a function of that name.
func declares(t *testing.T, source, name string) bool {
	t.Helper()
	for _, decl := range parse(t, source).Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
			return true
		}
	}
	return false
}

// callsContract says whether a function in the file, which a Test function may
// be or call, calls the named one of the package backendtest, under whatever
// name that was imported.
func callsContract(t *testing.T, source, name string) bool {
	t.Helper()
	file := parse(t, source)
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
		if !ok || test.Recv != nil || test.Body == nil {
			continue
		}
		ast.Inspect(test.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || selector.Sel.Name != name {
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
