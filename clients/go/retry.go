package jotsmith

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// waits says how long to wait, longer from time to time.
type waits struct{ last time.Duration }

// next returns how long to wait after an error: at least as long as the server
// asked for, and never the same as everybody else.
func (b *waits) next(err error) time.Duration {
	b.last = min(max(2*b.last, firstBackoff), lastBackoff)
	wait := b.last
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait + rand.N(wait/5+1) //nolint:gosec // it keeps clients apart, and need not be a secret
}

// retry calls until the call succeeds, fails with anything but UNAVAILABLE, or
// would have to wait past the end of ctx. What is RESOURCE_EXHAUSTED is not tried
// again: each try would add to the load, or to the quota, that is the trouble.
func retry(ctx context.Context, call func(context.Context) error) error {
	var wait waits
	for {
		err := toError(call(ctx))
		e, failed := errors.AsType[*Error](err)
		if !failed || e.Code != codes.Unavailable {
			return err
		}
		switch why := sleep(ctx, wait.next(err)); {
		case errors.Is(why, context.Canceled):
			return ended(why)
		case why != nil:
			return err
		}
	}
}

// sleep waits, or returns at once where ctx would end before.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return context.DeadlineExceeded
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
