package signer

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// store is a key store with its gate: so many calls inside, so many waiting.
//
// Those who wait get their turns round robin by caller and not by arrival: each
// caller has a line of its own, and a turn that comes free goes to the first in
// the line whose caller has been without one for longest. A caller who sends a
// thousand calls keeps his own waiting.
type store struct {
	Store
	leave func()

	away atomic.Bool                // when it was last asked
	last atomic.Pointer[storeFault] // nil where there was none

	mu      sync.Mutex
	free    int              // turns that nobody has; 0 while somebody waits
	waiting int              // in all lines
	lines   map[string]*line // by caller; none is empty
	order   list.List        // of *line: whose turn is next stands first
}

// storeFault is a failure of a store or before it.
type storeFault struct {
	err  error
	time time.Time
}

// line is the calls of one caller that wait.
type line struct {
	caller  string
	place   *list.Element // in the store's order
	waiters list.List     // of *waiter
}

// waiter is one call that waits. Its fields are guarded by the store's mu until
// done is closed.
type waiter struct {
	line  *line
	place *list.Element // in the line; nil once it has left it
	err   error         // why it left without a turn
	done  chan struct{} // closed when it left the line otherwise than by itself
}

func newStore(cfg Store) *store {
	s := &store{Store: cfg, free: cfg.MaxInFlight, lines: map[string]*line{}}
	s.leave = s.pass
	return s
}

// enter waits for a turn, at most until ctx ends, and returns how to leave.
// When too many wait already, or too many of this caller's while others wait,
// it fails at once with ErrOverloaded. When all places are taken, and this
// caller has fewer than his share of them, the newest of a caller with more
// fails in his stead.
func (s *store) enter(ctx context.Context, caller string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return s.leave, nil
	}
	w, err := s.queue(caller)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-w.done:
		return s.turn(w)
	case <-ctx.Done():
	}
	s.mu.Lock()
	if w.place != nil {
		s.drop(w)
		s.mu.Unlock()
		return nil, ctx.Err()
	}
	s.mu.Unlock()
	if w.err == nil { // the turn came at the same time; it is another's
		s.pass()
	}
	return nil, ctx.Err()
}

// turn is what a waiter got that did not leave by itself.
func (s *store) turn(w *waiter) (leave func(), err error) {
	if w.err != nil {
		return nil, w.err
	}
	return s.leave, nil
}

// queue puts a call in its caller's line. The caller holds mu.
func (s *store) queue(caller string) (*waiter, error) {
	own := s.lines[caller]
	mine := 0
	if own != nil {
		mine = own.waiters.Len()
	}
	if others := s.waiting - mine; others > 0 && mine >= (s.MaxQueue+1)/2 {
		return nil, ErrOverloaded
	}
	if s.waiting >= s.MaxQueue && !s.makeRoom(own, mine) {
		return nil, ErrOverloaded
	}
	if own == nil {
		own = &line{caller: caller}
		own.place = s.order.PushBack(own)
		s.lines[caller] = own
	}
	w := &waiter{line: own, done: make(chan struct{})}
	w.place = own.waiters.PushBack(w)
	s.waiting++
	return w, nil
}

// makeRoom turns away the newest call of a caller who has more than his share
// of the places, for one who would not have more than his. The caller holds mu.
func (s *store) makeRoom(own *line, mine int) bool {
	callers := len(s.lines)
	if own == nil {
		callers++
	}
	share := s.MaxQueue / callers
	if mine >= share {
		return false
	}
	for place := s.order.Front(); place != nil; place = place.Next() {
		l, _ := place.Value.(*line)
		if l.waiters.Len() <= share {
			continue
		}
		newest, _ := l.waiters.Back().Value.(*waiter)
		newest.err = ErrOverloaded
		s.drop(newest)
		close(newest.done)
		return true
	}
	return false
}

// drop takes a call out of its line. The caller holds mu.
func (s *store) drop(w *waiter) {
	w.line.waiters.Remove(w.place)
	w.place = nil
	s.waiting--
	if w.line.waiters.Len() == 0 {
		s.order.Remove(w.line.place)
		delete(s.lines, w.line.caller)
	}
}

// failed takes note of a failure. What its caller did not wait for is none.
func (s *store) failed(err error) {
	kind := kindOf(err)
	s.Metrics.Failed(kind.word)
	if kind.callers {
		return
	}
	s.last.Store(&storeFault{err, time.Now()})
	if kind.stores {
		s.away.Store(true)
	}
}

// signed takes note of a signature.
func (s *store) signed() {
	s.Metrics.Signed()
	if s.away.Load() {
		s.away.Store(false)
	}
}

// busy returns how many signatures are under way, and how many calls wait.
func (s *store) busy() (inFlight, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.MaxInFlight - s.free, s.waiting
}

// pass gives a turn to the next who waits, or back.
func (s *store) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	front := s.order.Front()
	if front == nil {
		s.free++
		return
	}
	next, _ := front.Value.(*line)
	first, _ := next.waiters.Front().Value.(*waiter)
	s.order.MoveToBack(front)
	s.drop(first)
	close(first.done)
}
