// Package sizing puts a load on a server, so that whoever runs it can see what his
// installation bears: so many tokens a second, and how long each was waited for.
package sizing

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The latencies that are told apart: from a microsecond to a minute, to three
// digits.
const (
	shortest = time.Microsecond
	longest  = time.Minute
	digits   = 3
)

// Load is what is asked of a server.
type Load struct {
	Callers  int // who ask at the same time
	Duration time.Duration
	// Rate is how many calls begin in a second. 0 has each caller ask again as soon
	// as he is answered. A call that is due while all callers wait is late, and what
	// it was late by is part of its latency: else a server that stands still would
	// look fast.
	Rate float64
	// Ask asks once and says whether the token had been made before. An error's
	// name is what Name says.
	Ask  func(ctx context.Context, caller int) (reused bool, err error)
	Name func(error) string
}

// Result is what came of a Load.
type Result struct {
	Took    time.Duration
	Tokens  int64
	Reused  int64
	Failed  map[string]int64 // by the name of the error
	Latency *hdrhistogram.Histogram

	first error
}

// Err is the first failure where there is no token at all.
func (r *Result) Err() error {
	if r.Tokens > 0 {
		return nil
	}
	return r.first
}

// Run asks until the time is over or ctx ends, and waits for the last answers. It
// calls said about once a second with what came so far.
func (l Load) Run(ctx context.Context, said func(tokens int64, elapsed time.Duration)) *Result {
	r := &counter{Result: Result{Failed: map[string]int64{}, Latency: newHistogram()}}
	asking, stop := context.WithTimeout(ctx, l.Duration)
	defer stop()
	began := time.Now()
	due := l.pace(asking)
	var wg sync.WaitGroup
	for caller := range l.Callers {
		wg.Go(func() {
			for when := range due {
				if when.IsZero() {
					when = time.Now()
				}
				reused, err := l.Ask(context.WithoutCancel(ctx), caller)
				r.add(time.Since(when), reused, err, l.Name)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wg.Wait()
	}()
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for {
		select {
		case <-seconds.C:
			said(r.tokens(), time.Since(began))
		case <-ended:
			r.Took = time.Since(began)
			return &r.Result
		}
	}
}

// pace says when calls are due, until ctx ends; the zero time is at once.
func (l Load) pace(ctx context.Context) <-chan time.Time {
	due := make(chan time.Time)
	go func() {
		defer close(due)
		began := time.Now()
		for n := 0; ; n++ {
			var when time.Time
			if l.Rate > 0 {
				when = began.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))
				if !sleepUntil(ctx, when) {
					return
				}
			}
			select {
			case due <- when:
			case <-ctx.Done():
				return
			}
		}
	}()
	return due
}

func sleepUntil(ctx context.Context, when time.Time) bool {
	wait := time.Until(when)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// counter is a Result while it is counted.
type counter struct {
	mu sync.Mutex
	Result
}

func (c *counter) add(took time.Duration, reused bool, err error, name func(error) string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if c.first == nil {
			c.first = err
		}
		c.Failed[name(err)]++
		return
	}
	c.Tokens++
	if reused {
		c.Reused++
	}
	_ = c.Latency.RecordValue(int64(min(max(took, shortest), longest))) // which it takes
}

func (c *counter) tokens() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Tokens
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortest), int64(longest), digits)
}
