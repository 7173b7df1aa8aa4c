//go:build unix

package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRotationUnderLoad(t *testing.T) {
	cfg := config(t)
	cfg.MaxBytes, cfg.Now = 20_000, nil
	l := mustOpen(t, cfg)
	const callers, each = 32, 50
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := range each {
				p, err := l.Begin(t.Context(), anIntent())
				if err == nil {
					err = p.End(t.Context(), aResult(fmt.Sprint(g, i)))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	dir := filepath.Dir(cfg.Path)
	r := mustVerify(t, dir)
	if want := uint64(2*callers*each + 1 + r.Files - 1); r.Records != want || r.Last != want || r.Files < 20 {
		t.Errorf("report %+v, want %d records", r, want)
	}
	tokens := map[string]bool{}
	for r, err := range Records(t.Context(), []string{dir}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == typeResult {
			tokens[r.Token] = true
		}
	}
	if len(tokens) != callers*each {
		t.Errorf("%d of %d tokens have a record", len(tokens), callers*each)
	}
	list, err := sources([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.info.Size() > cfg.MaxBytes {
			t.Errorf("%s has %d bytes", s.path, s.info.Size())
		}
	}
	if first := list[0].path; !strings.HasPrefix(filepath.Base(first), "audit.1-") || !strings.HasSuffix(first, ".jsonl") {
		t.Errorf("first file is %s", first)
	}
}

func TestRotationNeverOverwrites(t *testing.T) {
	cfg := config(t)
	cfg.MaxBytes = 3000
	l := mustOpen(t, cfg)
	const mark = "not to be lost"
	for last := range uint64(40) {
		if err := os.WriteFile(rotatedName(cfg.Path, 1, last), []byte(mark), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 15 {
		mint(t, l, "x")
	}
	for last := range uint64(40) {
		if read(t, rotatedName(cfg.Path, 1, last)) != mark {
			t.Errorf("file to %d was written over", last)
		}
	}
	if r := mustVerify(t, cfg.Path); r.Records != 31 {
		t.Errorf("report %+v", r)
	}
	for range 60 { // the names from here on are free
		mint(t, l, "x")
	}
	if info, err := os.Stat(cfg.Path); err != nil || info.Size() > 2*cfg.MaxBytes {
		t.Errorf("rotation has not been taken up again: %d bytes, %v", info.Size(), err)
	}
}

func TestRotatedLogIsReopened(t *testing.T) {
	cfg := config(t)
	cfg.MaxBytes = 2500
	for range 4 {
		l := mustOpen(t, cfg)
		for range 3 {
			mint(t, l, "x")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := mustVerify(t, filepath.Dir(cfg.Path)); r.First != 1 || r.Files < 3 {
		t.Errorf("report %+v", r)
	}
}

// TestLogrotate moves the file away under load, with SIGHUP's Reopen and
// without.
func TestLogrotate(t *testing.T) {
	for _, create := range []bool{false, true} {
		t.Run(fmt.Sprint("create ", create), func(t *testing.T) {
			cfg := config(t)
			l := mustOpen(t, cfg)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							if err := l.Note(t.Context(), anIntent(), Result{}); err != nil {
								t.Error(err)
								return
							}
						}
					}
				})
			}
			for i := 5; i > 0; i-- {
				if err := os.Rename(cfg.Path, fmt.Sprintf("%s.%d", cfg.Path, i)); err != nil {
					t.Fatal(err)
				}
				if create {
					if err := os.WriteFile(cfg.Path, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.Reopen(); err != nil {
					t.Fatal(err)
				}
				mint(t, l, "x")
			}
			close(stop)
			wg.Wait()
			if err := l.Reopen(); err != nil { // nothing has been moved
				t.Fatal(err)
			}
			if r := mustVerify(t, filepath.Dir(cfg.Path)); r.Files != 6 || r.First != 1 {
				t.Errorf("report %+v", r)
			}
			if text := read(t, cfg.Path); !strings.Contains(text[:400], `"from":"audit.jsonl.1"`) {
				t.Errorf("log does not say where it goes on from: %.400s", text)
			}
		})
	}
}

func TestMovedFileIsNoticedWithoutReopen(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	mint(t, l, "x")
	if err := os.Rename(cfg.Path, cfg.Path+".1"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		mint(t, l, "y")
		if _, err := os.Stat(cfg.Path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = l.Close()
	l = mustOpen(t, cfg)
	mint(t, l, "z")
	mustVerify(t, filepath.Dir(cfg.Path))
}

func TestMovedAwayWhileStopped(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	mint(t, l, "x")
	_ = l.Close()
	if err := os.Rename(cfg.Path, cfg.Path+"-20261123"); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, cfg)
	mint(t, l, "y")
	if r := mustVerify(t, filepath.Dir(cfg.Path)); r.Last != 6 {
		t.Errorf("report %+v", r)
	}
}

func TestAnotherLogBesideItIsNotGoneOnFrom(t *testing.T) {
	cfg := config(t)
	for _, name := range []string{"audit-eu.jsonl", "audit2.jsonl", "auditor.jsonl", "audit.jsonl", "audit.eu.jsonl"} {
		cfg.Path = filepath.Join(filepath.Dir(cfg.Path), name)
		mint(t, mustOpen(t, cfg), "x")
		if r := mustVerify(t, cfg.Path); r.First != 1 {
			t.Errorf("%s: report %+v", name, r)
		}
	}
}

func TestTwoServersCannotWriteOneLog(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	link := cfg
	link.Path = filepath.Join(filepath.Dir(cfg.Path), "another.jsonl")
	if err := os.Link(cfg.Path, link.Path); err != nil {
		t.Fatal(err)
	}
	for _, second := range []Config{cfg, link} {
		if _, err := Open(second); err == nil || !strings.Contains(err.Error(), "another process has this log open") {
			t.Errorf("second open of %s: %v", second.Path, err)
		}
	}
	mint(t, l, "x")
	if err := os.Rename(cfg.Path, cfg.Path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); err == nil {
		t.Error("opened between logrotate and its signal")
	}
	_ = l.Close()
	mint(t, mustOpen(t, cfg), "y")
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a directory":          {func(p string) error { return os.Mkdir(p, 0o700) }, "is a directory"},
		"a symbolic link":      {func(p string) error { return os.Symlink("x", p) }, "is a symbolic link"},
		"a pipe":               {mkfifo, "is not a plain file"},
		"a file all can write": {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o602)) }, "run chmod 600"},
		"another's file":       {func(p string) error { return os.WriteFile(p, []byte("hello\n"), 0o600) }, "not a record"},
		"no directory":         {func(p string) error { return os.Remove(filepath.Dir(p)) }, "no such file"},
		"a key all can read":   {func(p string) error { return os.WriteFile(p+keySuffix, make([]byte, 65), 0o644) }, "run chmod 600"},
		"half a key":           {func(p string) error { return os.WriteFile(p+keySuffix, make([]byte, 20), 0o600) }, "64 hex digits"},
		"a key of other bytes": {func(p string) error { return os.WriteFile(p+keySuffix, make([]byte, 65), 0o600) }, "64 hex digits"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			if err := c.make(cfg.Path); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("opened: %v, want %q", err, c.want)
			}
		})
	}
	for _, cfg := range []Config{{}, {Path: filepath.Join(t.TempDir(), "a"), Sync: "always"}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("opened %+v", cfg)
		}
	}
}
