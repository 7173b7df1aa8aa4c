package service

import (
	"sync"

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
