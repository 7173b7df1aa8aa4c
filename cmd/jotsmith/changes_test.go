package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that is written all the time beside the watched ones, as the audit log can be,
// keeps no change of theirs from being seen.
func TestFilesAreSeenToChangeBesideOneThatIsAlwaysWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "jotsmith.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "before")
	log, err := os.Create(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // nothing is asked of it
	files := &watchedFiles{files: func() []string { return []string{file} }, log: slog.New(slog.DiscardHandler)}
	changed, stop := files.watch(t.Context())
	defer stop()

	busy := time.NewTicker(time.Millisecond)
	defer busy.Stop()
	limit := time.After(5 * time.Second) // polling would take ten
	for ticks := 0; ; ticks++ {
		select {
		case <-changed:
			if ticks < 100 {
				t.Error("changed before it was")
			}
			return
		case <-limit:
			t.Fatal("a change that nobody saw")
		case <-busy.C:
			if _, err := log.WriteString("{}\n"); err != nil {
				t.Fatal(err)
			}
			if ticks == 100 {
				write(file, "after")
			}
		}
	}
}

// One of them that is written all the time is looked at all the same.
func TestFileThatIsNeverQuietIsSeenToChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jotsmith.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files := &watchedFiles{files: func() []string { return []string{file} }, log: slog.New(slog.DiscardHandler)}
	changed, stop := files.watch(t.Context())
	defer stop()
	busy := time.NewTicker(settle / 10)
	defer busy.Stop()
	limit := time.After(3 * settleAtMost)
	for n := byte('a'); ; n++ {
		select {
		case <-changed:
			return
		case <-limit:
			t.Fatal("a change that nobody saw")
		case <-busy.C:
			if err := os.WriteFile(file, []byte{n}, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
