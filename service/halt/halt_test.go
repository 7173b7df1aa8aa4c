package halt

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

func open(t *testing.T, path string) *Switch {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entry(kind Kind, name string) Entry {
	return Entry{Target{kind, name}, "it leaked", "unix:uid=0,gid=0", time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func TestWhatIsStoppedIsStoppedAndNothingElse(t *testing.T) {
	for _, stopped := range []Target{{Everything, ""}, {Key, "k"}, {Profile, "p"}, {Caller, "c"}} {
		s := open(t, "")
		if err := s.Check("k", "p", "c"); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(entry(stopped.Kind, stopped.Name)); err != nil {
			t.Fatal(err)
		}
		if err := s.Check("k", "p", "c"); !errors.Is(err, ErrHalted) || !strings.Contains(err.Error(), "it leaked") {
			t.Errorf("%v: %v", stopped, err)
		}
		if err := s.Check("k2", "p2", "c2"); (err != nil) != (stopped.Kind == Everything) {
			t.Errorf("%v stops others: %v", stopped, err)
		}
		if err := s.Check("p", "c", "k"); (err != nil) != (stopped.Kind == Everything) {
			t.Errorf("%v stops what has the same name: %v", stopped, err)
		}
		if was, err := s.GoOn(stopped); !was || err != nil {
			t.Errorf("%v, %v", was, err)
		}
		if was, err := s.GoOn(stopped); was || err != nil {
			t.Errorf("again: %v, %v", was, err)
		}
		if err := s.Check("k", "p", "c"); err != nil {
			t.Errorf("%v goes on: %v", stopped, err)
		}
	}
}

func TestStopIsKeptOverARestartWithItsFirstReason(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s := open(t, path)
	first := entry(Profile, "p")
	second := entry(Profile, "p")
	second.Reason, second.Time = "again", first.Time.Add(time.Hour)
	for _, e := range []Entry{first, second, entry(Key, "k")} {
		if err := s.Stop(e); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, path)
	if got := again.Stopped(); len(got) != 2 || fmt.Sprint(got) != fmt.Sprint(s.Stopped()) {
		t.Errorf("%v, want %v", got, s.Stopped())
	}
	if err := again.Check("", "p", ""); err == nil || strings.Contains(err.Error(), "again") {
		t.Errorf("after a restart: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestFileThatCannotBeReadEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"junk": "{", "unknown": `{"stopped":[{"kind":"moon","name":"x"}]}`, "nameless": `{"stopped":[{"kind":"key"}]}`,
		"huge": strings.Repeat(" ", maxFile+1),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory was read")
	}
}

func TestStopCountsEvenWhereTheDiskDoesNotTakeIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	s := open(t, filepath.Join(dir, "state.json"))
	if err := s.Stop(entry(Everything, "")); err == nil || !strings.Contains(err.Error(), "until the server restarts") {
		t.Errorf("%v", err)
	}
	if err := s.Check("k", "p", "c"); !errors.Is(err, ErrHalted) {
		t.Errorf("%v", err)
	}
}

func TestTargetsWithoutSenseAreRefused(t *testing.T) {
	s := open(t, "")
	for _, target := range []Target{{}, {"moon", "x"}, {Key, ""}, {Everything, "x"}} {
		if err := s.Stop(Entry{Target: target}); err == nil {
			t.Errorf("%v was stopped", target)
		}
		if _, err := s.GoOn(target); err == nil {
			t.Errorf("%v goes on", target)
		}
	}
	for i := range maxEntries {
		if err := s.Stop(entry(Caller, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(entry(Caller, "one more")); err == nil {
		t.Error("there is no bound")
	}
}

func TestSwitchUnderManyHands(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.json"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint(i)
			for range 5 {
				if err := s.Stop(entry(Key, name)); err != nil {
					t.Error(err)
				}
				if err := s.Check(name, "p", "c"); err == nil {
					t.Error("not stopped")
				}
				if _, err := s.GoOn(Target{Key, name}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := s.Stopped(); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func BenchmarkCheckOfNothing(b *testing.B) {
	s, err := Open("")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if s.Check("k", "p", "c") != nil {
			b.Fatal("stopped")
		}
	}
}
