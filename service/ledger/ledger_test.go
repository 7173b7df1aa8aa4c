package ledger

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var noon = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string) (*Ledger, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	l, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return l, &log
}

// holds fails the test unless the newest expiry of a profile is want.
func holds(t *testing.T, l *Ledger, profile string, want time.Time) {
	t.Helper()
	if got, ok := l.Newest(profile); !ok || !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("%s: newest %v, %t, want %v", profile, got, ok, want)
	}
}

func TestNewestExpiryOfEachProfileIsRememberedAndDoesNotGoBack(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "ledger.json")} {
		l, log := open(t, path)
		if _, ok := l.Newest("a"); ok {
			t.Error("a profile without tokens has a newest")
		}
		east := time.FixedZone("", 3600)
		l.Note(t.Context(), "a", noon.Add(time.Hour).In(east))
		l.Note(t.Context(), "b", noon)
		l.Note(t.Context(), "a", noon)
		l.Note(t.Context(), "a", noon.Add(time.Hour))
		holds(t, l, "a", noon.Add(time.Hour))
		holds(t, l, "b", noon)
		if log.Len() > 0 {
			t.Errorf("log: %s", log)
		}
	}
}

func TestExpiriesSurviveRoundedUpToTheMinute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, _ := open(t, path)
	l.Note(t.Context(), "a", noon.Add(time.Second))
	l.Note(t.Context(), "b", noon)
	again, _ := open(t, path)
	holds(t, again, "a", noon.Add(time.Minute))
	holds(t, again, "b", noon)
	again.Note(t.Context(), "a", noon.Add(2*time.Second))
	holds(t, again, "a", noon.Add(time.Minute))
	again.Note(t.Context(), "a", noon.Add(90*time.Second))
	third, _ := open(t, path)
	holds(t, third, "a", noon.Add(2*time.Minute))
	holds(t, third, "b", noon)
}

func TestFileIsItsOwnersAloneAndNoOtherIsLeft(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, filepath.Join(dir, "ledger.json"))
	for i := range 5 {
		l.Note(t.Context(), "a", noon.Add(time.Duration(i)*time.Hour))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestProfileThatMintsEachSecondWritesOnceAMinute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, _ := open(t, path)
	writes := 0
	var before uint64
	for i := range 600 {
		l.Note(t.Context(), "a", noon.Add(time.Duration(i)*time.Second))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if inode := info.Sys().(*syscall.Stat_t).Ino; inode != before {
			writes, before = writes+1, inode
		}
	}
	if writes < 10 || writes > 11 {
		t.Errorf("%d writes in ten minutes", writes)
	}
}

func TestFileThatIsNoLedgerIsRefusedWithTheMend(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		"broken": `{"newest_expiry":{"a":`, "empty": "", "list": "[]", "two": "{}{}",
		"number": `{"newest_expiry":{"a":1}}`, "date": `{"newest_expiry":{"a":"tomorrow"}}`,
		"huge": `{"newest_expiry":{}}` + strings.Repeat(" ", maxFile),
	} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(path("directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path("loop"), path("loop")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"broken", "empty", "list", "two", "number", "date", "huge", "directory", "pipe", "loop", "broken/below"} {
		l, err := Open(path(name), slog.New(slog.DiscardHandler))
		if err == nil || l != nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		if text := err.Error(); strings.Count(text, path(name)) != 1 || !strings.Contains(text, "move it away") {
			t.Errorf("%s: %s", name, text)
		}
	}
	for _, content := range []string{"{}", `{"newest_expiry":null}`, `{"newest_expiry":{},"later":1}`} {
		if err := os.WriteFile(path("fine"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l, _ := open(t, path("fine"))
		l.Note(t.Context(), "a", noon)
		holds(t, l, "a", noon)
	}
}

func TestUnwritableDirectoryIsLoggedAndTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "ledger.json")
	l, log := open(t, path) // dir is not there
	for i := range 120 {
		l.Note(t.Context(), "a", noon.Add(time.Duration(i)*time.Second))
		holds(t, l, "a", noon.Add(time.Duration(i)*time.Second))
	}
	if lines := strings.Count(log.String(), "ledger not written"); lines < 2 || lines > 3 {
		t.Errorf("%d lines in two minutes: %s", lines, log)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Note(t.Context(), "b", noon) // another profile's write has it all
	again, _ := open(t, path)
	holds(t, again, "a", noon.Add(2*time.Minute))
	holds(t, again, "b", noon)
	// What takes the file's place cannot be replaced; nothing is left behind.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Note(t.Context(), "a", noon.Add(time.Hour))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestConcurrentNotesAllReachTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, log := open(t, path)
	var wg sync.WaitGroup
	for p := range 8 {
		for i := range 4 {
			wg.Go(func() {
				for j := range 25 {
					l.Note(t.Context(), fmt.Sprint(p), noon.Add(time.Duration(4*j+i)*time.Minute))
					l.Newest(fmt.Sprint((p + 1) % 8))
				}
			})
		}
	}
	wg.Wait()
	again, _ := open(t, path)
	for p := range 8 {
		holds(t, l, fmt.Sprint(p), noon.Add(99*time.Minute))
		holds(t, again, fmt.Sprint(p), noon.Add(99*time.Minute))
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}
