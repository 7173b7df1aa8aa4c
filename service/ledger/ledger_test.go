package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
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
	l, err := Open(path, rand.Reader, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.writes.Wait) // before the directory is removed
	return l, &log
}

func issue(t *testing.T, l *Ledger, profile, kid string, now, end time.Time) {
	t.Helper()
	if err := l.Issued(t.Context(), profile, kid, now, end); err != nil {
		t.Fatal(err)
	}
}

// holds fails the test unless the newest end of a profile is within a time.
func holds(t *testing.T, l *Ledger, profile string, least, most time.Time) {
	t.Helper()
	if got, ok := l.Newest(profile); !ok || got.Before(least) || got.After(most) {
		t.Errorf("%s: newest %v, %t, want %v to %v", profile, got, ok, least, most)
	}
}

func TestNewestEndOfProfilesAndKIDsIsRememberedAndDoesNotGoBack(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "ledger.json")} {
		l, log := open(t, path)
		if _, ok := l.Newest("a"); ok {
			t.Error("a profile without tokens has a newest")
		}
		hour := noon.Add(time.Hour)
		issue(t, l, "a", "k1", noon, hour.In(time.FixedZone("", 3600)))
		issue(t, l, "b", "k1", noon, noon)
		issue(t, l, "a", "k2", noon, noon.Add(time.Minute))
		issue(t, l, "a", "k1", noon, noon)
		issue(t, l, "c", "k3", noon, time.Time{}) // one without an end
		holds(t, l, "a", hour, hour)
		holds(t, l, "b", noon, noon)
		if end, ok := l.End("k1"); !ok || !end.Equal(hour) {
			t.Errorf("k1 ends %v, %t", end, ok)
		}
		if _, ok := l.End("k3"); ok {
			t.Error("a token without an end has one")
		}
		if err := l.Close(); err != nil || log.Len() > 0 {
			t.Errorf("%v, log: %s", err, log)
		}
	}
}

func TestKilledServerHasForgottenNoEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, _ := open(t, path)
	for i := range 600 { // a token a second, and after each the disk is looked at as a new server does
		now := noon.Add(time.Duration(i) * time.Second)
		end := now.Add(10 * time.Minute)
		issue(t, l, "a", "k", now, end)
		again, _ := open(t, path)
		if got, ok := again.End("k"); !ok || got.Before(end) || got.After(end.Add(3*grain)) {
			t.Fatalf("after %d s the disk knows %v, %t, and a token ends %v", i, got, ok, end)
		}
	}
}

func TestCountsSurviveAStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, _ := open(t, path)
	for i := range 100 {
		issue(t, l, "a", "k", noon, noon.Add(time.Duration(i)*time.Minute))
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, path)
	if alive := again.Alive(noon.Add(50 * time.Minute)); len(alive) != 1 || alive[0].Count != 50 || alive[0].KID != "k" {
		t.Errorf("alive %v", alive)
	}
	if again.ID() != l.ID() {
		t.Errorf("%q is %q after a restart", l.ID(), again.ID())
	}
	issue(t, l, "a", "k", noon, noon.Add(time.Hour)) // after Close it is counted, and not written
}

func TestFileHasOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	first, _ := open(t, path)
	second, _ := open(t, path)
	if err := first.Own(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Own(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the second: %v", err)
	}
	issue(t, first, "a", "k", noon, noon.Add(time.Hour))
	if err := errors.Join(second.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	third, _ := open(t, path) // the second had nothing to say
	holds(t, third, "a", noon.Add(time.Hour), noon.Add(time.Hour+2*grain))
	if err := third.Own(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFileIsItsOwnersAloneAndNoOtherIsLeft(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, filepath.Join(dir, "ledger.json"))
	for i := range 5 {
		issue(t, l, "a", "k", noon, noon.Add(time.Duration(i)*time.Hour))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 { // it was not owned, so there is no lock
		t.Fatalf("%v, %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestProfilesThatMintEachSecondWriteTogetherAboutOnceAMinute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, _ := open(t, path)
	writes := 0
	var before uint64
	for i := range 600 {
		now := noon.Add(time.Duration(i) * time.Second)
		for p := range 5 {
			issue(t, l, fmt.Sprint(p), "k", now, now.Add(time.Hour))
		}
		l.writes.Wait()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if inode := info.Sys().(*syscall.Stat_t).Ino; inode != before {
			writes, before = writes+1, inode
		}
	}
	if writes < 8 || writes > 20 {
		t.Errorf("%d writes in ten minutes", writes)
	}
}

func TestFileThatIsNoLedgerIsRefusedWithTheMend(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	whole := `{"id":"00","series":[{"profile":"a","kid":"k","newest_end":"2027-01-01T00:00:00Z","ends_by_time":{"1798761600":1}}]}`
	for name, content := range map[string]string{
		"broken": `{"id":"2027`, "empty": "", "list": "[]", "two": "{}{}", "nothing": "{}",
		"nameless": strings.Replace(whole, `"a"`, `""`, 1),
		"endless":  strings.Replace(whole, `"newest_end":"2027-01-01T00:00:00Z",`, "", 1),
		"negative": strings.Replace(whole, ":1}", ":-1}", 1),
		"many":     `{"id":"00","series":[{}` + strings.Repeat(",{}", maxSeries) + `]}`,
		"huge":     whole + strings.Repeat(" ", maxFile),
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
	for _, name := range []string{
		"broken", "empty", "list", "two", "nothing", "nameless", "endless", "negative", "many", "huge",
		"directory", "pipe", "loop", "broken/below",
	} {
		l, err := Open(path(name), rand.Reader, slog.New(slog.DiscardHandler))
		if err == nil || l != nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		if text := err.Error(); strings.Count(text, path(name)) != 1 || !strings.Contains(text, "move it away") {
			t.Errorf("%s: %s", name, text)
		}
	}
	for _, content := range []string{whole, strings.Replace(whole, `{"id`, `{"later":1,"id`, 1), `{"id":"00","series":null}`} {
		if err := os.WriteFile(path("fine"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l, _ := open(t, path("fine"))
		issue(t, l, "a", "k", noon, noon)
		holds(t, l, "a", noon, noon)
		l.writes.Wait()
	}
}

func TestUnwritableDirectoryIsLoggedAndHoldsNothingUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "ledger.json")
	l, log := open(t, path) // dir is not there
	before := l.ID()
	for i := range 120 {
		now := noon.Add(time.Duration(i) * time.Second)
		issue(t, l, "a", "k", now, now)
		l.writes.Wait()
		holds(t, l, "a", now, now)
	}
	if lines := strings.Count(log.String(), "ledger not written"); lines < 2 || lines > 4 {
		t.Errorf("%d lines in two minutes: %s", lines, log)
	}
	if err := l.Close(); err == nil {
		t.Error("Close does not say that nothing was written")
	}
	if l.ID() == before {
		t.Error("it has its old name, and what it knows is not on the disk")
	}
}

func TestTokenIsNotHandedOutBeforeTheDiskKnowsItsEnd(t *testing.T) {
	l, _ := open(t, filepath.Join(t.TempDir(), "ledger.json"))
	l.flight = make(chan struct{}) // a write that does not end
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Issued(ctx, "a", "k", noon, noon.Add(time.Hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	l.land(l.flight, true)
	issue(t, l, "a", "k", noon, noon.Add(time.Hour))
	again, _ := open(t, l.path)
	holds(t, again, "a", noon.Add(time.Hour), noon.Add(time.Hour+2*grain))
}

func TestSeriesAreBoundedAndTheFirstEndedIsForgottenFirst(t *testing.T) {
	l, _ := open(t, "")
	for i := range maxSeries + 10 {
		issue(t, l, "a", fmt.Sprint(i), noon, noon.Add(time.Duration(i)*time.Second))
	}
	if len(l.series) != maxSeries {
		t.Errorf("%d series", len(l.series))
	}
	_, first := l.End("9")
	_, next := l.End("10")
	if first || !next {
		t.Errorf("the tenth is known: %t, the eleventh: %t", first, next)
	}
}

func TestConcurrentTokensAllReachTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, log := open(t, path)
	var wg sync.WaitGroup
	for p := range 8 {
		for i := range 4 {
			wg.Go(func() {
				for j := range 25 {
					if err := l.Issued(t.Context(), fmt.Sprint(p), "k", noon, noon.Add(time.Duration(4*j+i)*time.Minute)); err != nil {
						t.Error(err)
					}
					l.Newest(fmt.Sprint((p + 1) % 8))
				}
			})
		}
	}
	wg.Wait()
	again, _ := open(t, path)
	for p := range 8 {
		last := noon.Add(99 * time.Minute)
		holds(t, l, fmt.Sprint(p), last, last)
		holds(t, again, fmt.Sprint(p), last, last.Add(2*grain))
	}
	if err := l.Close(); err != nil || log.Len() > 0 {
		t.Errorf("%v, log: %s", err, log)
	}
}
