package service

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// How many refusals are recorded: what strangers send must not fill the disk,
// for then nothing could be minted. The log has a line for each all the same.
const (
	refusalsPerSecond  = 100
	refusalsAtOnce     = 1000
	strangersPerSecond = 10
	strangersAtOnce    = 100
)

// refusals bounds how many refusals are recorded, those of callers who are
// nobody by themselves.
type refusals struct {
	all, strangers *rate.Limiter
	skipped        atomic.Int64
	say            rate.Sometimes
}

func newRefusals() *refusals {
	return &refusals{
		all:       rate.NewLimiter(refusalsPerSecond, refusalsAtOnce),
		strangers: rate.NewLimiter(strangersPerSecond, strangersAtOnce),
		say:       rate.Sometimes{Interval: 10 * time.Second},
	}
}

// allow says whether one more is recorded, and now and then to the log how many
// were not.
func (r *refusals) allow(ctx context.Context, known bool, log *slog.Logger) bool {
	if (known || r.strangers.Allow()) && r.all.Allow() {
		return true
	}
	r.skipped.Add(1)
	r.say.Do(func() {
		log.WarnContext(ctx, "refusals are too many to be recorded", "skipped", r.skipped.Swap(0))
	})
	return false
}
