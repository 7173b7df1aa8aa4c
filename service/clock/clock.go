// Package clock tells the time of issue and notices when the clock cannot be
// right: a signature over a wrong time is a token that no verifier takes, or
// one that is valid for longer than anyone meant.
package clock

import (
	"errors"
	"sync"
	"time"
)

// ErrUntrusted says that the wall clock cannot be right: it stands before the
// day this program was made, or before a time it has shown already.
var ErrUntrusted = errors.New("the server's clock cannot be trusted")

// built is a time before which no version of this program can run: that of the
// first. A clock that was never set stands before it.
var built = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// slack is how far the wall clock may step, as time services make it, before
// that counts.
const slack = 5 * time.Second

// Clock compares the wall clock with one that never steps. It is safe for
// concurrent use.
type Clock struct {
	wall  func() time.Time
	hands func() (wall time.Time, monotonic time.Duration)

	mu      sync.Mutex
	newest  time.Time // the latest time shown
	wallRef time.Time // the wall clock when monotonic showed monoRef
	monoRef time.Duration
	steps   Steps
}

// Steps counts how often the wall clock has stepped by more than 5 s against
// the monotonic one.
type Steps struct {
	Forward, Backward uint32
}

// New returns a Clock of two hands, for one that is not the machine's.
func New(wall func() time.Time, monotonic func() time.Duration) *Clock {
	return of(wall, func() (time.Time, time.Duration) { return wall(), monotonic() })
}

// System returns the Clock of this machine. Its monotonic time is that since the start.
func System() *Clock {
	start := time.Now()
	return of(time.Now, func() (time.Time, time.Duration) {
		now := time.Now() // which has both
		return now, now.Sub(start)
	})
}

func of(wall func() time.Time, hands func() (time.Time, time.Duration)) *Clock {
	c := &Clock{wall: wall, hands: hands}
	c.wallRef, c.monoRef = hands()
	c.wallRef = c.wallRef.Round(0)
	return c
}

// Reading is one look at the clock.
type Reading struct {
	wall  time.Time
	err   error
	Mono  time.Duration // monotonic time; it counts on whatever the wall clock does
	Steps Steps         // up to now
}

// Time returns the wall clock's time, or ErrUntrusted.
func (r Reading) Time() (time.Time, error) { return r.wall, r.err }

// Wall returns the wall clock's time, trusted or not. No token may be made of
// it.
func (c *Clock) Wall() time.Time { return c.wall() }

// Now looks at the clock.
func (c *Clock) Now() Reading {
	var now Reading
	now.wall, now.Mono = c.hands()
	now.wall = now.wall.Round(0) // or it would be compared by its monotonic time
	c.mu.Lock()
	defer c.mu.Unlock()
	switch step := now.wall.Sub(c.wallRef) - (now.Mono - c.monoRef); {
	case step > slack:
		c.steps.Forward++
		c.wallRef, c.monoRef = now.wall, now.Mono
	case step < -slack:
		c.steps.Backward++
		c.wallRef, c.monoRef = now.wall, now.Mono
	}
	now.Steps = c.steps
	switch {
	case now.wall.Before(built), now.wall.Before(c.newest.Add(-slack)):
		now.err = ErrUntrusted
	case now.wall.After(c.newest):
		c.newest = now.wall
	}
	return now
}
