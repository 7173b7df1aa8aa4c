package awskms

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// The tries of one call. KMS answers a Sign in about 10 ms; a new connection
// costs a few round trips more.
const (
	maxTries     = 3
	tryTimeout   = 2 * time.Second        // one try, so that a black hole does not eat the whole deadline
	minTry       = 50 * time.Millisecond  // no try is begun with less time left
	backoffBase  = 25 * time.Millisecond  // doubled at each try, with full jitter
	backoffCap   = 400 * time.Millisecond //
	limiterWait  = 250 * time.Millisecond // the most that a call waits for our own limiter
	throttleWait = 500 * time.Millisecond // about when KMS has room again: its quotas are per second
)

// call tries until KMS answers, the tries are used up or the time is. limited
// says that each try spends one of the account's signatures. The error is the
// context's own or an *backends.Error that names no operation yet.
func (b *Backend) call(ctx context.Context, limited bool, try func(context.Context) error) error {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if limited {
			if err := b.spend(ctx); err != nil {
				return err
			}
		}
		err := once(ctx, b.tryTimeout, try)
		if err == nil {
			return nil
		}
		f := classify(err)
		if ctx.Err() != nil && !f.answered {
			return ctx.Err()
		}
		failure := &backends.Error{Kind: f.kind, Err: f.err}
		if errors.Is(f.kind, backends.ErrThrottled) {
			failure.RetryAfter = throttleWait/2 + rand.N(throttleWait) //nolint:gosec // jitter
			if limited {
				b.slowDown(ctx)
			}
		}
		pause := rand.N(min(backoffCap, backoffBase<<(n-1))) //nolint:gosec // jitter
		if !f.transient || n == maxTries || b.calls.isClosed() || !timeFor(ctx, pause+minTry) {
			return failure
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// once makes one try, which ends with ctx or after limit. The context of
// a try that succeeded is never cancelled, not even when the caller ends its
// own right after: net/http might see that before it has the connection back,
// and close it.
func once(ctx context.Context, limit time.Duration, try func(context.Context) error) error {
	tryCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	timer := time.AfterFunc(limit, cancel)
	defer timer.Stop()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	err := try(tryCtx)
	if err != nil {
		cancel()
	}
	return err
}

// spend waits for the limiter, or says at once that the wait is too long.
func (b *Backend) spend(ctx context.Context) error {
	most := limiterWait
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)-minTry)
	}
	wait, ok := b.limiter.take(time.Now(), max(0, most))
	if !ok {
		return &backends.Error{Kind: backends.ErrThrottled, RetryAfter: wait, Err: errOwnLimit}
	}
	return sleep(ctx, wait)
}

// slowDown lowers our rate and tells the operator, once a storm.
func (b *Backend) slowDown(ctx context.Context) {
	if perSecond, cut := b.limiter.throttled(time.Now()); cut {
		b.log.WarnContext(ctx, "key store is throttling", "store", Scheme, "rate", perSecond)
	}
}

// timeFor says whether the context leaves so much time.
func timeFor(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) >= d
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// calls counts the calls under way, so that Close can wait for them.
type calls struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when closed is set and n is 0
}

// enter returns false once the backend is closed.
func (c *calls) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.n++
	return true
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.closed {
		close(c.idle)
	}
}

func (c *calls) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close refuses new calls and returns what ends with the last one.
func (c *calls) close() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.idle = make(chan struct{})
		if c.n == 0 {
			close(c.idle)
		}
	}
	return c.idle
}
