package signer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// turns is a store with one turn, taken, and the order in which calls get it.
type turns struct {
	*store
	held func() // leaves the turn

	mu    sync.Mutex
	order []string
	errs  map[string]int
}

func newTurns(t *testing.T, queue int) *turns {
	t.Helper()
	s := &turns{store: newStore(Store{MaxInFlight: 1, MaxQueue: queue}), errs: map[string]int{}}
	leave, err := s.enter(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	s.held = leave
	return s
}

// call has a caller wait for a turn, note it, and leave.
func (s *turns) call(ctx context.Context, caller string) {
	go func() {
		leave, err := s.enter(ctx, caller)
		s.mu.Lock()
		if err != nil {
			s.errs[caller]++
		} else {
			s.order = append(s.order, caller)
		}
		s.mu.Unlock()
		if err == nil {
			leave()
		}
	}()
	synctest.Wait()
}

func TestOneFloodingCallerDoesNotKeepAnotherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 1024)
		for range 1000 {
			s.call(t.Context(), "flood")
		}
		s.call(t.Context(), "other")
		s.held()
		synctest.Wait()
		if len(s.order) != 1001 || s.order[0] != "other" && s.order[1] != "other" {
			t.Errorf("%d calls, first %v", len(s.order), s.order[:3])
		}
		if s.waiting != 0 || s.free != 1 || len(s.lines) != 0 || s.order[1000] != "flood" {
			t.Errorf("at the end %d wait, %d are free, %d lines", s.waiting, s.free, len(s.lines))
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
		if got, want := fmt.Sprint(s.order), "[a b c a c a]"; got != want {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

func TestAFullQueueHasAPlaceForWhoeverHasFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 8)
		for range 9 {
			s.call(t.Context(), "a")
		}
		if s.waiting != 8 || s.errs["a"] != 1 {
			t.Errorf("alone: %d wait, %v", s.waiting, s.errs)
		}
		for range 5 {
			s.call(t.Context(), "b")
		}
		if s.lines["b"].waiters.Len() != 4 || s.lines["a"].waiters.Len() != 4 || s.errs["b"] != 1 || s.errs["a"] != 5 {
			t.Errorf("two callers: %d and %d wait, %v", s.lines["a"].waiters.Len(), s.lines["b"].waiters.Len(), s.errs)
		}
		s.call(t.Context(), "c")
		if s.lines["c"].waiters.Len() != 1 || s.waiting != 8 {
			t.Errorf("the third caller: %d wait, %v", s.waiting, s.errs)
		}
		for i := range 20 { // one place each, and no more for whoever comes then
			s.call(t.Context(), fmt.Sprint("other", i))
		}
		if s.waiting != 8 || len(s.lines) != 8 {
			t.Errorf("%d wait in %d lines", s.waiting, len(s.lines))
		}
		s.held()
		synctest.Wait()
		if len(s.order) != 8 || s.free != 1 {
			t.Errorf("order %v", s.order)
		}
	})
}

func TestNoCallerHoldsMoreThanHalfWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns(t, 100)
		s.call(t.Context(), "other")
		for range 60 {
			s.call(t.Context(), "flood")
		}
		if s.lines["flood"].waiters.Len() != 50 || s.errs["flood"] != 10 {
			t.Errorf("%d wait, %v", s.lines["flood"].waiters.Len(), s.errs)
		}
		s.held()
		synctest.Wait()
	})
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
		if s.errs["gone"] != 10 || s.waiting != 1 || len(s.lines) != 1 || s.Store.MaxQueue != 100 {
			t.Errorf("%d wait, %v", s.waiting, s.errs)
		}
		if _, err := s.enter(ctx, "gone"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.held()
		synctest.Wait()
		if fmt.Sprint(s.order) != "[stays]" || s.free != 1 {
			t.Errorf("order %v", s.order)
		}
	})
}

// Many callers come, go and give up at once: never more inside than may be, and
// no turn is lost.
func TestTurnsAreNeitherLostNorMade(t *testing.T) {
	s := newStore(Store{MaxInFlight: 3, MaxQueue: 16})
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == 0 {
					go cancel()
				}
				leave, err := s.enter(ctx, fmt.Sprint(i%5))
				if err == nil {
					now := inside.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					inside.Add(-1)
					leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s.free != 3 || s.waiting != 0 || len(s.lines) != 0 || s.order.Len() != 0 || most.Load() > 3 {
		t.Errorf("free %d, waiting %d, lines %d, at most %d inside", s.free, s.waiting, len(s.lines), most.Load())
	}
}

func BenchmarkEnter(b *testing.B) {
	s := newStore(Store{MaxInFlight: 64, MaxQueue: 64})
	b.ReportAllocs()
	for b.Loop() {
		leave, err := s.enter(b.Context(), "caller")
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}
