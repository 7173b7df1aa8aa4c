//go:build cgo && unix

package pkcs11

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// presence is the state of something that is there or lost: a token in its
// slot, a child process. One goroutine, its owner, looks for it again and says
// found or missed; callers await it and say prove or lose.
//
// The first attempt after a loss is made at once and callers wait for it; after
// that they fail at once and attempts come with growing pauses.
type presence[T any] struct {
	pace pace
	stop chan struct{} // closed when the owner is to end
	wake chan struct{} // one place: it was lost

	current atomic.Pointer[T] // nil while it is lost
	proved  atomic.Pointer[T] // the last one that served a call

	mu      sync.Mutex
	streak  int           // attempts since the last one that was proved
	reason  error         // why it is lost
	ended   chan struct{} // closed when the attempt that callers wait for ends
	patient time.Time     // until when they wait for it
	next    time.Time     // when the next attempt is due
}

func newPresence[T any](p pace, reason error) *presence[T] {
	return &presence[T]{
		pace: p, reason: reason,
		stop: make(chan struct{}), wake: make(chan struct{}, 1),
		ended: make(chan struct{}), patient: time.Now().Add(p.firstWait),
	}
}

// await returns what is there, or says when to come back.
func (p *presence[T]) await(ctx context.Context) (*T, error) {
	for {
		if t := p.current.Load(); t != nil {
			return t, nil
		}
		p.mu.Lock()
		found := p.current.Load() != nil // between the look above and the lock
		ended, reason := p.ended, p.reason
		wait, next := time.Until(p.patient), time.Until(p.next)
		p.mu.Unlock()
		if found {
			continue
		}
		if wait <= 0 || ended == nil {
			kind, _ := judge(reason)
			return nil, &backends.Error{Kind: kind, RetryAfter: max(next, p.pace.backoffMin/2), Err: reason}
		}
		if err := p.pass(ctx, ended, wait); err != nil {
			return nil, err
		}
	}
}

// pass waits until ended is closed, but not longer than wait.
func (p *presence[T]) pass(ctx context.Context, ended <-chan struct{}, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.stop:
		return &backends.Error{Kind: backends.ErrClosed}
	}
	return nil
}

// prove notes that t served a call, so that its loss is a new one.
func (p *presence[T]) prove(t *T) {
	if p.proved.Load() != t {
		p.proved.Store(t)
	}
}

// lose takes t for lost, unless that is known. It says when it will be looked
// for.
func (p *presence[T]) lose(t *T, reason error) (retryIn time.Duration, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.current.CompareAndSwap(t, nil) {
		return 0, false
	}
	p.reason = reason
	if p.proved.Load() == t {
		p.streak = 0
	}
	now := time.Now()
	p.next, p.ended, p.patient = now, make(chan struct{}), now.Add(p.pace.firstWait)
	if p.streak > 1 {
		// Found and lost again without one success: no use in hurrying.
		p.next, p.ended = now.Add(p.pace.backoff(p.streak-1)), nil
	}
	select {
	case p.wake <- struct{}{}:
	default: // the owner has not yet seen the last one
	}
	return p.next.Sub(now), true
}

// found ends an attempt with success.
func (p *presence[T]) found(t *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streak++
	p.current.Store(t)
	p.end()
}

// missed ends an attempt without, and says when the next is due.
func (p *presence[T]) missed(reason error) (retryIn time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streak++
	p.reason = reason
	pause := p.pace.backoff(p.streak - 1)
	p.next = time.Now().Add(pause)
	p.end()
	return pause
}

func (p *presence[T]) end() {
	if p.ended != nil {
		close(p.ended)
		p.ended = nil
	}
}

// due waits for the next attempt, or with something there for idle to pass. It
// returns false when the owner is to end.
func (p *presence[T]) due(idle time.Duration) bool {
	for {
		pause := idle
		if p.current.Load() == nil {
			p.mu.Lock()
			pause = time.Until(p.next)
			p.mu.Unlock()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			return true
		case <-p.wake: // it was lost meanwhile
			timer.Stop()
		case <-p.stop:
			timer.Stop()
			return false
		}
	}
}
