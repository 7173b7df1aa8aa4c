package filekey

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// drainLimit is how long close waits for calls under way. A signature takes
// microseconds; only a file system that hangs keeps a call for longer.
const drainLimit = 3 * time.Second

// A gate counts the calls under way and lets no more in once it is closed. It
// costs a call two atomic additions, and callers never wait for each other.
type gate struct {
	// state is the number of callers inside, plus math.MinInt64 when closed.
	state   atomic.Int64
	closing sync.Once
	empty   sync.Once
	drained chan struct{} // closed when the gate is closed and nobody is inside
}

func (g *gate) init() { g.drained = make(chan struct{}) }

// enter says whether the caller may go on; if so, it calls leave when done.
func (g *gate) enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == math.MinInt64 {
		g.empty.Do(func() { close(g.drained) })
	}
}

// close lets nobody in any more and waits until everybody left, within
// drainLimit. Called again, it waits as the first call does.
func (g *gate) close() {
	g.closing.Do(func() {
		if g.state.Add(math.MinInt64) == math.MinInt64 {
			g.empty.Do(func() { close(g.drained) })
		}
	})
	timeout := time.NewTimer(drainLimit)
	defer timeout.Stop()
	select {
	case <-g.drained:
	case <-timeout.C:
	}
}
