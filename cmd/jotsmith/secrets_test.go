package main

import (
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/jotsmith/jotsmith/service/servicetest"
)

// writtenTo is where each command of a script leaves a copy of what it writes
// to standard error.
const writtenTo = "JOTSMITH_TEST_WRITTEN"

// searchedMain is main, for the scripts.
func searchedMain() {
	var stderr io.Writer = os.Stderr
	if dir := os.Getenv(writtenTo); dir != "" {
		file, err := os.CreateTemp(dir, "")
		if err != nil {
			panic(err)
		}
		stderr = io.MultiWriter(os.Stderr, file)
	}
	os.Exit(program(stderr))
}

// written is all that the commands of the scripts write to standard error: the
// servers' logs, and what a client has to say.
type written struct {
	dir string

	mu   sync.Mutex
	pins []string
}

// newWritten has all of it searched for tokens, keys and PINs when the scripts
// have ended.
func newWritten(t *testing.T) *written {
	t.Helper()
	w := &written{dir: t.TempDir()}
	t.Cleanup(func() {
		files, err := os.ReadDir(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(w.dir, file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			servicetest.SearchForSecrets(t, "standard error of a command", string(text), w.pins...)
			calls += strings.Count(string(text), `"msg":"rpc"`)
		}
		all := !strings.Contains(flag.Lookup("test.run").Value.String(), "/")
		if all && (len(files) < 100 || calls < 100 || len(w.pins) < 2) {
			t.Errorf("only %d commands, %d calls and %d PINs were searched", len(files), calls, len(w.pins))
		}
	})
	return w
}

// by has the commands of a script leave their copies, and its PINs be looked
// for.
func (w *written) by(env *testscript.Env) {
	env.Setenv(writtenTo, w.dir)
	env.Defer(func() {
		_ = filepath.WalkDir(env.WorkDir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(entry.Name(), "pin") {
				return nil // not what is looked for
			}
			if text, err := os.ReadFile(path); err == nil {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.pins = append(w.pins, strings.TrimSpace(string(text)))
			}
			return nil
		})
	})
}
