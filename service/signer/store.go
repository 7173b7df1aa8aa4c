package signer

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// store is a key store with its gate: so many calls inside, so many waiting.
//
// A call has a place first, which is there at once or not at all, and gives it
// for its turn. Turns come round robin by caller and not by arrival: each caller
// has a line of its own, and a turn that comes free goes to the first in the line
// whose caller has been without one for longest. A caller who sends a thousand
// calls keeps his own waiting.
type store struct {
	Store

	away atomic.Bool                // when it was last asked
	last atomic.Pointer[storeFault] // nil where there was none

	mu    sync.Mutex
	free  int              // turns that nobody has; 0 while somebody waits
	taken int              // places, of all callers
	lines map[string]*line // by caller; none without a place
	order list.List        // of *line with calls that wait: whose turn is next stands first

	staff   sync.Once      // starts the goroutines that stay
	working sync.WaitGroup // they
	handed  chan *place    // whose work one of them is to do
	closing sync.Once
	closed  chan struct{}
}

// storeFault is a failure of a store or before it.
type storeFault struct {
	err  error
	time time.Time
}

func newStore(cfg Store) *store {
	return &store{
		Store: cfg, free: cfg.MaxInFlight, lines: map[string]*line{},
		handed: make(chan *place), closed: make(chan struct{}),
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
	return s.MaxInFlight - s.free, s.taken
}

// close closes the store itself and ends the goroutines that stay. It may be
// called again.
func (s *store) close() error {
	s.closing.Do(func() { close(s.closed) })
	s.working.Wait()
	return s.Backend.Close()
}
