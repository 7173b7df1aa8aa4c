package awskms

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How the limiter moves (additive increase, multiplicative decrease).
const (
	cutPause     = 200 * time.Millisecond // one storm of throttles is one cut
	growStep     = 100 * time.Millisecond // how often the rate grows back
	recoveryTime = 10 * time.Second       // from nothing to the full rate
	floorShare   = 64                     // the rate never falls below full/floorShare
	burstTime    = 100 * time.Millisecond // how much of a second's rate may go out at once
)

// limiter keeps our signatures below KMS's quota, which the account shares
// with others: a throttle halves the rate, and quiet time brings it back. The
// caller passes the time, so that tests need no clock.
type limiter struct {
	full float64 // signatures per second

	mu     sync.Mutex
	bucket *rate.Limiter
	rate   float64   // the current rate, at most full
	cut    time.Time // of the last decrease
	grown  time.Time // of the last change in either direction
}

func newLimiter(full int) *limiter {
	l := &limiter{full: float64(full), rate: float64(full)}
	l.bucket = rate.NewLimiter(rate.Limit(l.rate), burst(l.rate))
	return l
}

func burst(perSecond float64) int { return max(1, int(perSecond*burstTime.Seconds())) }

// take reserves one signature. It returns how long to wait for it, or false
// and the wait that would have been needed when that is longer than most.
func (l *limiter) take(now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := now.Sub(l.grown); l.rate < l.full && since >= growStep {
		l.set(now, min(l.full, l.rate+l.full*since.Seconds()/recoveryTime.Seconds()))
	}
	r := l.bucket.ReserveN(now, 1)
	wait = r.DelayFrom(now)
	if wait > most {
		r.CancelAt(now)
		return wait, false
	}
	return wait, true
}

// throttled tells the limiter that KMS throttled a signature. It returns the
// new rate, and false when this throttle belongs to a cut already made.
func (l *limiter) throttled(now time.Time) (perSecond float64, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.cut) < cutPause {
		return l.rate, false
	}
	l.cut = now
	l.set(now, max(l.rate/2, l.full/floorShare))
	return l.rate, true
}

func (l *limiter) set(now time.Time, perSecond float64) {
	l.rate, l.grown = perSecond, now
	l.bucket.SetLimitAt(now, rate.Limit(perSecond))
	l.bucket.SetBurstAt(now, burst(perSecond))
}
