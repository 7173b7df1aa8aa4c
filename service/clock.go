package service

import (
	"errors"
	"sync/atomic"
	"time"
)

// ErrClockUntrusted says that the wall clock cannot be right: it stands before
// the day this program was made, or before a time it has shown already.
var ErrClockUntrusted = errors.New("the server's clock cannot be trusted")

// built is a time before which no version of this program can run: that of the
// first. A clock that was never set stands before it.
var built = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// slack is how far the clock may step back, as time services do, before its
// time is refused.
const slack = 5 * time.Second

// Clock gives the time of issue. It is safe for concurrent use.
type Clock struct {
	wall   func() time.Time
	newest atomic.Int64 // the latest Unix time given out
}

// NewClock returns a Clock over wall, for which main passes time.Now.
func NewClock(wall func() time.Time) *Clock { return &Clock{wall: wall} }

// Now returns the time of issue, or ErrClockUntrusted.
func (c *Clock) Now() (time.Time, error) {
	now := c.wall()
	seconds := now.Unix()
	newest := c.newest.Load()
	if now.Before(built) || seconds < newest-int64(slack/time.Second) {
		return time.Time{}, ErrClockUntrusted
	}
	for seconds > newest && !c.newest.CompareAndSwap(newest, seconds) {
		newest = c.newest.Load()
	}
	return now, nil
}
