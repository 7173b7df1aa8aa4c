package signer

import (
	"container/list"
)

// line is the calls of one caller that wait.
type line struct {
	store   *store
	caller  string
	at      *list.Element // in the store's order
	waiters list.List     // of *waiter
}

// waiter is one call that waits. Its fields are guarded by the store's mu until
// done is closed.
type waiter struct {
	*place
	line *line
	at   *list.Element // in the line; nil once it has left it
	work func()        // what it wants its turn for; nil where it will do that itself
	err  error         // what became of work
	done chan struct{} // closed when it has its turn, or what it wanted it for is done
}

// withdrawn takes a call out of its line, or says that it is not there any more.
func (s *store) withdrawn(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.at == nil {
		return false
	}
	s.drop(w)
	return true
}

// queue puts a call in its caller's line. The caller holds mu.
func (s *store) queue(p *place, work func()) *waiter {
	own := s.lines[p.caller]
	if own == nil {
		own = &line{store: s, caller: p.caller}
		own.at = s.order.PushBack(own)
		s.lines[p.caller] = own
	}
	w := &waiter{place: p, line: own, work: work, done: make(chan struct{})}
	w.at = own.waiters.PushBack(w)
	return w
}

// drop takes a call out of its line. The caller holds mu.
func (s *store) drop(w *waiter) {
	w.line.waiters.Remove(w.at)
	w.at = nil
	if w.line.waiters.Len() == 0 {
		s.order.Remove(w.line.at)
		delete(s.lines, w.line.caller)
	}
	w.left()
}

// pass gives a turn to the next who waits, or back.
func (s *store) pass() {
	next := s.next()
	switch {
	case next == nil:
	case next.work == nil:
		close(next.done)
	default:
		s.staff.Do(func() {
			for range s.MaxInFlight {
				s.working.Go(s.serve)
			}
		})
		select {
		case s.handed <- next:
		case <-s.closed:
			next.serveAll()
		}
	}
}

// next takes the call out of its line that has the next turn, or gives the turn
// back where nobody waits.
func (s *store) next() *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	front := s.order.Front()
	if front == nil {
		s.free++
		return nil
	}
	next, _ := front.Value.(*line)
	first, _ := next.waiters.Front().Value.(*waiter)
	s.order.MoveToBack(front)
	s.drop(first)
	return first
}
