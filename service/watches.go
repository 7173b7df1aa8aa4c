package service

import (
	"context"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/authn"
)

// WatchLimits bounds the watches that are open at once.
type WatchLimits struct {
	PerCaller, Total int
}

// watches knows the watches that are open, and wakes them.
type watches struct {
	limits   WatchLimits
	draining chan struct{} // closed when the server stops

	mu     sync.Mutex
	change chan struct{}  // closed at the next change
	open   map[string]int // by caller
	total  int
}

func newWatches(limits WatchLimits) *watches {
	return &watches{
		limits: limits, draining: make(chan struct{}), change: make(chan struct{}), open: map[string]int{},
	}
}

// enter counts one more watch of a caller and returns how to leave.
func (w *watches) enter(caller authn.Caller) (leave func(), err error) {
	name := caller.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.isDraining():
		return nil, errDraining
	case w.total >= w.limits.Total, w.open[name] >= w.limits.PerCaller:
		return nil, errTooManyWatches
	}
	w.total++
	w.open[name]++
	return func() { w.leave(name) }, nil
}

func (w *watches) leave(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if w.open[name]--; w.open[name] == 0 {
		delete(w.open, name)
	}
}

// count returns how many watches are open.
func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// next returns what is closed at the next change.
func (w *watches) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

// changed wakes all watches.
func (w *watches) changed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.change)
	w.change = make(chan struct{})
}

// drain ends all watches. It may be called again.
func (w *watches) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isDraining() {
		close(w.draining)
	}
}

func (w *watches) isDraining() bool {
	select {
	case <-w.draining:
		return true
	default:
		return false
	}
}

// enter counts the call among the open watches of its caller and returns how to
// leave. Each look of a watch is under the configuration of its time, so the
// call's own is let go.
func (c *call) enter() (leave func(), err error) {
	leave, err = c.service.watches.enter(c.caller)
	if err == nil {
		c.release()
	}
	return leave, err
}

// follow looks at once, at each change, and when the time has come that the last
// look gave, until a look fails, ctx ends or the server stops.
func (s *Service) follow(ctx context.Context, look func(context.Context) (next time.Time, err error)) error {
	for {
		change := s.watches.next() // before the look, so that no change after it is missed
		next, err := aside(func() (time.Time, error) { return look(ctx) })
		if err != nil {
			return err
		}
		timer := time.NewTimer(next.Sub(s.Clock.Wall()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-change:
		case <-s.watches.draining:
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.watches.isDraining() {
			return errDraining
		}
	}
}

// aside does a look in a goroutine of its own, whose stack, which a signature and an
// answer make deep, is given back when it is done: the goroutine that waits for the
// next change waits long, and there may be many of them. A panic is the caller's, whom
// gRPC's interceptor stands behind.
func aside(look func() (time.Time, error)) (next time.Time, err error) {
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		next, err = look()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return next, err
}
