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
	start    time.Time
	draining chan struct{} // closed when the server stops

	mu     sync.Mutex
	change chan struct{}   // closed at the next change
	alarms map[tick]*alarm // that somebody waits for
	open   map[string]int  // by caller
	total  int
}

func newWatches(limits WatchLimits) *watches {
	return &watches{
		limits: limits, start: time.Now(), draining: make(chan struct{}),
		change: make(chan struct{}), alarms: map[tick]*alarm{}, open: map[string]int{},
	}
}

// enter counts one more watch of a caller, until it leaves.
func (w *watches) enter(caller authn.Caller) error {
	name := caller.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.isDraining():
		return errDraining
	case w.total >= w.limits.Total, w.open[name] >= w.limits.PerCaller:
		return errTooManyWatches
	}
	w.total++
	w.open[name]++
	return nil
}

func (w *watches) leave(caller authn.Caller) {
	name := caller.String()
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
	w.ringAll()
}

// drain ends all watches. It may be called again.
func (w *watches) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isDraining() {
		close(w.draining)
		w.ringAll()
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

// visit is what a watch that has entered keeps of its call.
type visit struct {
	caller authn.Caller
	start  time.Time
}

// enter counts a watch among the open ones of its caller, or ends its call. Each
// look of it is under the configuration of its time, not under the call's.
func (v *visit) enter(ctx context.Context, c *call) error {
	if err := c.service.watches.enter(c.caller); err != nil {
		return c.end(ctx, err)
	}
	v.caller, v.start = c.caller, c.start
	return nil
}

func (v *visit) leave(s *Service) { s.watches.leave(v.caller) }

// call is the watch's call, to be ended.
func (v *visit) call(s *Service, method, profile string) call {
	return call{service: s, method: method, profile: profile, start: v.start, caller: v.caller}
}

// looker is a watch that looks, and says when the next look is due.
type looker interface {
	look(ctx context.Context) error
	due() time.Time
}

// follow looks at once, at each change, and when the next look is due, until a look
// fails, ctx ends or the server stops. Each look is done aside.
func (s *Service) follow(ctx context.Context, w looker) error {
	for {
		change := s.watches.next() // before the look, so that no change after it is missed
		if err := s.aside.do(func() error { return w.look(ctx) }); err != nil {
			return err
		}
		if err := s.watches.wait(ctx, w.due().Sub(s.Clock.Wall()), change); err != nil {
			return err
		}
	}
}
