package signer

import (
	"container/list"
	"context"

	"github.com/jotsmith/jotsmith/backends"
)

// place is a call's place in a store, until it is given for a turn or left. Its
// fields are guarded by the store's mu; what became of work is there when done is
// closed.
type place struct {
	store *store
	line  *line         // of its caller; nil when the place is gone
	at    *list.Element // in the line, while it waits there
	work  work          // what it wants its turn for; nil where it will do that itself
	done  chan struct{} // closed when it has its turn, or what it wanted it for is done

	signature backends.Signature
	err       error
}

// work is what is done in a turn.
type work func() (backends.Signature, error)

// admit gives a call a place, or ErrOverloaded at once. Where it has to wait, a
// caller may have twice as many places as are left: one alone two thirds of
// them, two two fifths each, so that whoever comes next finds some (Choudhury and
// Hahne 1998, "Dynamic queue length thresholds").
func (s *store) admit(caller string) (*place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.lines[caller]
	waiting := s.taken - s.free
	if waiting >= 0 && own.has() >= 2*(s.MaxQueue-waiting) {
		return nil, ErrOverloaded
	}
	if own == nil {
		own = &line{caller: caller}
		s.lines[caller] = own
	}
	s.taken++
	own.places++
	return &place{store: s, line: own}, nil
}

// in says whether the place is there still, and in a store.
func (p *place) in(s *store) bool { return p != nil && p.line != nil && p.store == s }

// leave gives the place back, if it is there still.
func (p *place) leave() {
	if p == nil || !p.in(p.store) {
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
	if p.line.places--; p.line.places == 0 {
		delete(s.lines, p.line.caller)
	}
	p.line = nil
}

// enter gives the place for a turn, and waits for it until ctx ends at most. The
// place is gone in any case; who has his turn ends it with the store's pass.
func (p *place) enter(ctx context.Context) error {
	had, err := p.take(ctx, nil)
	if had || err != nil {
		return err
	}
	if p.await(ctx) {
		return nil
	}
	if !p.withdrawn() { // the turn came at the same time; it is another's
		p.store.pass()
	}
	return ctx.Err()
}

// run gives the place for a turn and has work done in it.
func (p *place) run(ctx context.Context, work work) (backends.Signature, error) {
	p.start(ctx, work)
	return p.wait(ctx)
}

// start gives the place for a turn that work is to be done in, and does it where the
// turn is free. Where it has to be waited for, one of the goroutines that stay does
// the work, whose stacks have grown and are warm: a signature needs a deep one.
func (p *place) start(ctx context.Context, work work) {
	had, err := p.take(ctx, work)
	switch {
	case err != nil:
		p.err = err
	case had:
		defer p.store.pass()
		p.signature, p.err = work()
	}
}

// await waits until the turn has come, or what was started in it is done, or ctx ends:
// then it is false.
func (p *place) await(ctx context.Context) bool {
	if p.done == nil { // there was nothing to wait for
		return true
	}
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// wait returns what became of what was started. When ctx ends, it does not wait for
// work that has begun, and what has not begun is not done.
func (p *place) wait(ctx context.Context) (backends.Signature, error) {
	if p.await(ctx) {
		return p.signature, p.err
	}
	p.withdrawn()
	return backends.Signature{}, ctx.Err()
}

// take gives the place for a turn that is free, or for one to wait for.
func (p *place) take(ctx context.Context, work work) (had bool, err error) {
	s := p.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		p.left()
		return false, err
	}
	if s.free > 0 {
		s.free--
		p.left()
		return true, nil
	}
	p.queue(work)
	return false, nil
}
