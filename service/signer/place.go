package signer

import (
	"context"
)

// place is a call's place in a store, until it is given for a turn or left.
type place struct {
	store  *store
	caller string
}

// admit gives a call a place, or ErrOverloaded at once. Where it has to wait, a
// caller may have twice as many places as are left: one alone two thirds of
// them, two two fifths each, so that whoever comes next finds some (Choudhury and
// Hahne 1998, "Dynamic queue length thresholds").
func (s *store) admit(caller string) (*place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.taken - s.free
	if waiting >= 0 && s.places[caller] >= 2*(s.MaxQueue-waiting) {
		return nil, ErrOverloaded
	}
	s.taken++
	s.places[caller]++
	return &place{s, caller}, nil
}

// leave gives the place back, if it is there still.
func (p *place) leave() {
	if p == nil || p.store == nil {
		return
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.left()
}

// left takes note that the place is gone. The caller holds the store's mu.
func (p *place) left() {
	s := p.store
	s.taken--
	if s.places[p.caller]--; s.places[p.caller] == 0 {
		delete(s.places, p.caller)
	}
	p.store = nil
}

// enter gives the place for a turn, and waits for it until ctx ends at most. The
// place is gone in any case; who has his turn ends it with the store's pass.
func (p *place) enter(ctx context.Context) error {
	s := p.store
	had, w, err := p.take(ctx, nil)
	if had || err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	if !s.withdrawn(w) { // the turn came at the same time; it is another's
		s.pass()
	}
	return ctx.Err()
}

// run gives the place for a turn and has work done in it. Where the turn has to be
// waited for, one of the goroutines that stay does the work, whose stacks have
// grown and are warm: a signature needs a deep one. When ctx ends, run does not
// wait for work that has begun.
func (p *place) run(ctx context.Context, work func()) error {
	s := p.store
	had, w, err := p.take(ctx, work)
	if err != nil {
		return err
	}
	if had {
		defer s.pass()
		work()
		return nil
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	s.withdrawn(w)
	return ctx.Err()
}

// take gives the place for a turn that is free, or for one to wait for.
func (p *place) take(ctx context.Context, work func()) (had bool, w *waiter, err error) {
	s := p.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		p.left()
		return false, nil, err
	}
	if s.free > 0 {
		s.free--
		p.left()
		return true, nil, nil
	}
	return false, s.queue(p, work), nil
}
