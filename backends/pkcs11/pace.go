//go:build cgo && unix

package pkcs11

import (
	"math/rand/v2"
	"time"
)

// pace holds the waiting times, so that tests can be quick.
type pace struct {
	backoffMin time.Duration // shortest pause between two attempts to find the token
	backoffMax time.Duration // longest pause
	firstWait  time.Duration // how long calls wait for the first attempt
	drain      time.Duration // how long to wait for calls inside before C_Finalize
	hung       time.Duration // a call left by its caller for so long is taken to hang
	closing    time.Duration // how long Close waits
	keepalive  time.Duration // pause between two touches of the anchor session
	jitter     func() float64

	watch       time.Duration // pause between two pings of a child process
	hangs       time.Duration // a call in the child that takes longer is taken to hang
	searchHangs time.Duration // the same for C_Initialize and finding the token, which may be slow
}

func defaultPace() pace {
	return pace{
		backoffMin: time.Second,
		backoffMax: time.Minute,
		firstWait:  2 * time.Second,
		drain:      5 * time.Second,
		hung:       time.Second,
		closing:    3 * time.Second,
		keepalive:  time.Minute,
		jitter:     rand.Float64,

		watch:       time.Second,
		hangs:       10 * time.Second,
		searchHangs: time.Minute,
	}
}

// backoff returns the pause after the n-th failed attempt, counted from 0:
// twice as long each time, between half of that and all of it.
func (p pace) backoff(n int) time.Duration {
	ceiling := min(p.backoffMax, p.backoffMin<<min(max(n, 0)+1, 30))
	return ceiling/2 + time.Duration(p.jitter()*float64(ceiling/2))
}
