package signer

import (
	"container/list"
)

// line is the calls of one caller that have a place.
type line struct {
	caller  string
	places  int
	waiters list.List     // of *place: those that wait for a turn
	at      *list.Element // in the store's order, while some wait
}

// has returns how many places a caller has; one without a line has none.
func (l *line) has() int {
	if l == nil {
		return 0
	}
	return l.places
}

// queue puts a call in its caller's line. The caller of queue holds the store's mu.
func (p *place) queue(work work) {
	own := p.line
	if own.at == nil {
		own.at = p.store.order.PushBack(own)
	}
	p.work, p.done = work, make(chan struct{})
	p.at = own.waiters.PushBack(p)
}

// withdrawn takes a call out of its line, or says that it is not there any more.
func (p *place) withdrawn() bool {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.at == nil {
		return false
	}
	p.drop()
	return true
}

// drop takes a call out of its line. The caller holds the store's mu.
func (p *place) drop() {
	own := p.line
	own.waiters.Remove(p.at)
	p.at = nil
	if own.waiters.Len() == 0 {
		p.store.order.Remove(own.at)
		own.at = nil
	}
	p.left()
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
func (s *store) next() *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	front := s.order.Front()
	if front == nil {
		s.free++
		return nil
	}
	next, _ := front.Value.(*line)
	first, _ := next.waiters.Front().Value.(*place)
	s.order.MoveToBack(front)
	first.drop()
	return first
}
