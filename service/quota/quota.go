// Package quota counts how often each caller of a grant asks, by a token bucket
// for each pair of a rule and a caller. It is asked right after the grant is
// found, ahead of any parsing of what the caller sent.
//
// The buckets belong to no configuration: they go on over a reload for as long
// as the rule's quota is the same. One whose quota changes begins anew, full.
package quota

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/jotsmith/jotsmith/service/policy"
)

// MaxBuckets is how many buckets a server keeps.
const MaxBuckets = 65_536

// ErrExceeded says that the quota of a grant is used up for its caller. What
// has it in its chain is an *Exceeded.
var ErrExceeded = errors.New("quota of the grant is used up")

// Exceeded is ErrExceeded with the time to wait.
type Exceeded struct {
	Rule string
	Wait time.Duration // until one more request would be taken
}

// Error says which rule's quota it is.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("%v: grant %s, again in %s", ErrExceeded, e.Rule, e.Wait)
}

// Unwrap returns ErrExceeded.
func (e *Exceeded) Unwrap() error { return ErrExceeded }

// RetryDelay returns how long to wait.
func (e *Exceeded) RetryDelay() time.Duration { return e.Wait }

// Buckets are the buckets of all callers. It is safe for concurrent use. A nil
// *Buckets counts nothing and refuses nobody.
type Buckets struct {
	kept    *otter.Cache[place, *rate.Limiter]
	refused atomic.Int64
}

// place is whose bucket it is. A quota that changes is another bucket.
type place struct {
	rule, caller string
	quota        policy.Quota
}

// New returns Buckets that keep the buckets of the callers seen most and last,
// up to so many. One that is let go is full when its caller comes again, so a
// caller gains by it only while more callers than that come and go.
func New(most int) *Buckets {
	return &Buckets{kept: otter.Must(&otter.Options[place, *rate.Limiter]{
		MaximumSize: most,
		Executor:    func(maintain func()) { maintain() }, // in no goroutine of its own
	})}
}

// Counts says whether requests under the grant are counted: it has a quota.
func (b *Buckets) Counts(grant policy.Grant) bool {
	return b != nil && grant.Quota() != (policy.Quota{})
}

// Take counts one request under the grant, or fails with an *Exceeded, and then
// counts nothing.
func (b *Buckets) Take(grant policy.Grant, now time.Time) error {
	if !b.Counts(grant) {
		return nil
	}
	bucket := b.bucket(grant)
	if bucket.AllowN(now, 1) {
		return nil
	}
	b.refused.Add(1)
	return exceeded(grant, bucket.TokensAt(now))
}

// Refused returns how many requests Take has refused.
func (b *Buckets) Refused() int64 {
	if b == nil {
		return 0
	}
	return b.refused.Load()
}

// Look says what Take would, and counts nothing. Left is how many requests
// could come at once; it is meaningless without a quota.
func (b *Buckets) Look(grant policy.Grant, now time.Time) (left int, err error) {
	if !b.Counts(grant) {
		return 0, nil
	}
	bucket, ok := b.kept.GetIfPresent(at(grant))
	if !ok {
		return grant.Quota().Burst, nil
	}
	tokens := bucket.TokensAt(now)
	if tokens < 1 {
		return 0, exceeded(grant, tokens)
	}
	return int(tokens), nil
}

func exceeded(grant policy.Grant, tokens float64) error {
	missing := max(1-tokens, 0)
	wait := time.Duration(missing * float64(time.Minute) / float64(grant.Quota().PerMinute))
	return &Exceeded{grant.Rule(), max(wait, time.Millisecond)}
}

func (b *Buckets) bucket(grant policy.Grant) *rate.Limiter {
	key := at(grant)
	if bucket, ok := b.kept.GetIfPresent(key); ok {
		return bucket
	}
	quota := grant.Quota()
	bucket, _ := b.kept.SetIfAbsent(key, rate.NewLimiter(rate.Limit(float64(quota.PerMinute)/60), quota.Burst))
	return bucket
}

func at(grant policy.Grant) place {
	return place{grant.Rule(), grant.Caller().String(), grant.Quota()}
}

// Words says what a quota is.
func Words(q policy.Quota) string {
	return fmt.Sprintf("%d requests a minute, %d at once", q.PerMinute, q.Burst)
}
