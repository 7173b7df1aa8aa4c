package signer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/jotsmith/jotsmith/backends"
)

// turns is a store with one turn, taken, and the callers in the order in which
// they get it.
type turns struct {
	*store
	held func() // leaves the turn

	mu   sync.Mutex
	got  []string
	errs map[string]int
}

func newTurns(t *testing.T, queue int) *turns {
	t.Helper()
	s := &turns{store: newStore(Store{MaxInFlight: 1, MaxQueue: queue}), errs: map[string]int{}}
	if err := s.in(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	s.held = s.pass
	return s
}

// in has a caller get a place and a turn, which ends with pass.
func (s *store) in(ctx context.Context, caller string) error {
	at, err := s.admit(caller)
	if err != nil {
		return err
	}
	return at.enter(ctx)
}

// call has a caller wait for a turn, note it, and leave.
func (s *turns) call(ctx context.Context, caller string) {
	go func() {
		err := s.in(ctx, caller)
		s.mu.Lock()
		if err != nil {
			s.errs[caller]++
		} else {
			s.got = append(s.got, caller)
		}
		s.mu.Unlock()
		if err == nil {
			s.pass()
		}
	}()
	synctest.Wait()
}

// idle says that nobody has anything.
func (s *store) idle() bool {
	return s.free == s.MaxInFlight && s.taken == 0 && len(s.lines) == 0 && s.order.Len() == 0
}

func TestOneFloodingCallerDoesNotKeepAnotherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 2048)
		for range 1000 {
			s.call(t.Context(), "flood")
		}
		s.call(t.Context(), "other")
		s.held()
		synctest.Wait()
		if len(s.got) != 1001 || s.got[0] != "other" && s.got[1] != "other" || s.got[1000] != "flood" {
			t.Errorf("%d calls, first %v", len(s.got), s.got[:3])
		}
		if !s.idle() {
			t.Errorf("at the end %d wait, %d are free", s.taken, s.free)
		}
	})
}

func TestTurnsGoRoundByCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 100)
		for _, caller := range []string{"a", "a", "a", "b", "c", "c"} {
			s.call(t.Context(), caller)
		}
		s.held()
		synctest.Wait()
		if got, want := fmt.Sprint(s.got), "[a b c a c a]"; got != want {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

// However many come who want more than there is, whoever has less finds a place.
func TestAPlaceIsLeftForWhoeverHasFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 11)
		for _, step := range []struct {
			caller     string
			calls, get int
		}{{"a", 20, 8}, {"b", 20, 2}, {"a", 1, 0}, {"c", 20, 1}, {"d", 1, 0}} {
			for range step.calls {
				s.call(t.Context(), step.caller)
			}
			if got := s.lines[step.caller].has(); step.get > 0 && got != step.get || s.errs[step.caller] == 0 && step.get < step.calls {
				t.Errorf("%s has %d places after %d calls, want %d; %v", step.caller, got, step.calls, step.get, s.errs)
			}
		}
		s.held()
		synctest.Wait()
		if len(s.got) != 11 || !s.idle() {
			t.Errorf("order %v", s.got)
		}
	})
}

func TestWhatCanBeUnderWayIsAllOneCallers(t *testing.T) {
	s := newStore(Store{MaxInFlight: 3})
	for range 3 {
		if err := s.in(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	for _, caller := range []string{"a", "b"} {
		if err := s.in(t.Context(), caller); !errors.Is(err, ErrOverloaded) {
			t.Errorf("%s: %v", caller, err)
		}
	}
	s.pass()
	if err := s.in(t.Context(), "b"); err != nil {
		t.Error(err)
	}
}

func TestWhoeverGivesUpLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 100)
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			s.call(ctx, "gone")
		}
		s.call(t.Context(), "stays")
		cancel()
		synctest.Wait()
		if s.errs["gone"] != 10 || s.taken != 1 || len(s.lines) != 1 {
			t.Errorf("%d wait, %v", s.taken, s.errs)
		}
		if err := s.in(ctx, "gone"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.held()
		synctest.Wait()
		if fmt.Sprint(s.got) != "[stays]" || !s.idle() {
			t.Errorf("order %v", s.got)
		}
	})
}

// Many callers come, go and give up at once: never more inside than may be, and
// no turn is lost.
func TestTurnsAreNeitherLostNorMade(t *testing.T) {
	s := newStore(Store{Backend: closing{}, MaxInFlight: 3, MaxQueue: 16})
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == 0 {
					go cancel()
				}
				work := func() {
					now := inside.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					inside.Add(-1)
				}
				at, err := s.admit(fmt.Sprint(i % 5))
				switch {
				case err != nil:
				case n%2 == 0:
					if at.enter(ctx) == nil {
						work()
						s.pass()
					}
				default:
					_, _ = at.run(ctx, func() (sig backends.Signature, err error) {
						work()
						return sig, nil
					})
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if err := s.close(); err != nil { // which joins those who work
		t.Error(err)
	}
	if !s.idle() || most.Load() > 3 {
		t.Errorf("free %d, waiting %d, lines %d, at most %d inside", s.free, s.taken, len(s.lines), most.Load())
	}
}

// closing is a backend that is closed and nothing else.
type closing struct{ backends.KeyBackend }

func (closing) Close() error { return nil }

func TestWorkIsDoneInTurnsAndOneThatPanicsHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 100)
		s.Backend = closing{}
		var done []string
		for _, caller := range []string{"a", "a", "panics", "b"} {
			go func() {
				at, err := s.admit(caller)
				if err == nil {
					_, err = at.run(t.Context(), func() (sig backends.Signature, err error) {
						if caller == "panics" {
							panic("x")
						}
						done = append(done, caller) // one at a time
						return sig, nil
					})
				}
				if errors.Is(err, errPanic) != (caller == "panics") || caller != "panics" && err != nil {
					t.Errorf("%s: %v", caller, err)
				}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		at, err := s.admit("gone")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := at.run(ctx, func() (sig backends.Signature, err error) {
			done = append(done, "gone")
			return sig, nil
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("who is gone: %v", err)
		}
		s.held()
		synctest.Wait()
		if got, want := fmt.Sprint(done), "[a b a]"; got != want || !s.idle() {
			t.Errorf("done %v, want %v", got, want)
		}
		// What is closed does what is still asked of it, and keeps no goroutine.
		for range 2 {
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.in(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		s.call(t.Context(), "then")
		s.pass()
		synctest.Wait()
	})
}

func BenchmarkEnter(b *testing.B) {
	s := newStore(Store{MaxInFlight: 64, MaxQueue: 64})
	b.ReportAllocs()
	for b.Loop() {
		if err := s.in(b.Context(), "caller"); err != nil {
			b.Fatal(err)
		}
		s.pass()
	}
}
