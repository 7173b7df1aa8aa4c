package quota_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/quota"
)

// grant returns the grant of a rule with a quota for the uid.
func grant(t testing.TB, rule string, uid uint32, q policy.Quota) policy.Grant {
	t.Helper()
	p := policy.New([]policy.Rule{{Name: rule, Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{"p"}, Quota: q}})
	g, err := p.Decide(authn.FromUnix(authn.Unix{UID: uid}), "p")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestBurstThenTheRate(t *testing.T) {
	b := quota.New(quota.MaxBuckets)
	g := grant(t, "r", 1, policy.Quota{PerMinute: 30, Burst: 3})
	now := start()
	for i := range 3 {
		if left, err := b.Look(g, now); left != 3-i || err != nil {
			t.Errorf("%d left, %v", left, err)
		}
		if err := b.Take(g, now); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // and what is refused costs nothing
		err := b.Take(g, now)
		exceeded, ok := errors.AsType[*quota.Exceeded](err)
		if !ok || !errors.Is(err, quota.ErrExceeded) || exceeded.Rule != "r" || exceeded.RetryDelay() != 2*time.Second {
			t.Fatalf("got %v", err)
		}
		if _, looked := b.Look(g, now); looked == nil || looked.Error() != err.Error() {
			t.Errorf("a look says %v", looked)
		}
	}
	now = now.Add(1500 * time.Millisecond)
	if exceeded, ok := errors.AsType[*quota.Exceeded](b.Take(g, now)); !ok || exceeded.Wait.Round(time.Millisecond) != 500*time.Millisecond {
		t.Errorf("got %v", exceeded)
	}
	now = now.Add(500 * time.Millisecond)
	if err := b.Take(g, now); err != nil {
		t.Errorf("when it said to come again: %v", err)
	}
	if err := b.Take(g, now.Add(-time.Hour)); err == nil {
		t.Error("a clock that is set back gives requests away")
	}
	for range 3 {
		if err := b.Take(g, now.Add(time.Hour)); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	}
	if err := b.Take(g, now.Add(time.Hour)); err == nil {
		t.Error("an hour gives more than the burst")
	}
}

func TestEachRuleAndCallerHasABucketAndOneWithoutQuotaNone(t *testing.T) {
	b := quota.New(quota.MaxBuckets)
	one := policy.Quota{PerMinute: 1, Burst: 1}
	for range 2 {
		for rule := range 3 {
			for uid := range uint32(3) {
				_ = b.Take(grant(t, fmt.Sprint(rule), uid, one), start())
			}
		}
	}
	for rule := range 3 {
		for uid := range uint32(3) {
			if _, err := b.Look(grant(t, fmt.Sprint(rule), uid, one), start()); err == nil {
				t.Errorf("rule %d, uid %d: not used up", rule, uid)
			}
		}
	}
	if err := b.Take(grant(t, "3", 0, one), start()); err != nil {
		t.Error(err)
	}
	for range 100 {
		if err := b.Take(grant(t, "0", 0, policy.Quota{}), start()); err != nil {
			t.Fatal(err)
		}
	}
}

// A reload makes new grants; the buckets are the same ones.
func TestBucketGoesOnWhileItsQuotaIsTheSame(t *testing.T) {
	b := quota.New(quota.MaxBuckets)
	old := policy.Quota{PerMinute: 1, Burst: 1}
	if err := b.Take(grant(t, "r", 1, old), start()); err != nil {
		t.Fatal(err)
	}
	if err := b.Take(grant(t, "r", 1, old), start()); err == nil {
		t.Error("the bucket was made anew")
	}
	if err := b.Take(grant(t, "r", 1, policy.Quota{PerMinute: 2, Burst: 1}), start()); err != nil {
		t.Errorf("a quota that has changed: %v", err)
	}
}

func TestBucketsAreBoundedAndOneLetGoIsFull(t *testing.T) {
	b := quota.New(100)
	one := policy.Quota{PerMinute: 1, Burst: 1}
	for uid := range uint32(5000) {
		if err := b.Take(grant(t, "r", uid, one), start()); err != nil {
			t.Fatal(err)
		}
	}
	full := 0
	for uid := range uint32(5000) {
		if _, err := b.Look(grant(t, "r", uid, one), start()); err == nil {
			full++
		}
	}
	if full < 4900 {
		t.Errorf("%d buckets are kept", 5000-full)
	}
}

func TestNoMoreThanTheBurstGoesToManyAtOnce(t *testing.T) {
	b := quota.New(quota.MaxBuckets)
	g := grant(t, "r", 1, policy.Quota{PerMinute: 1, Burst: 50})
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				if b.Take(g, start()) == nil {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != 50 {
		t.Errorf("%d of 50", taken.Load())
	}
}

func BenchmarkTake(b *testing.B) {
	buckets := quota.New(quota.MaxBuckets)
	for name, g := range map[string]policy.Grant{
		"free":     grant(b, "r", 1, policy.Quota{PerMinute: 10_000_000, Burst: 10_000_000}),
		"exceeded": grant(b, "s", 1, policy.Quota{PerMinute: 1, Burst: 1}),
		"none":     grant(b, "t", 1, policy.Quota{}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			now := time.Now()
			for b.Loop() {
				_ = buckets.Take(g, now)
			}
		})
	}
}
