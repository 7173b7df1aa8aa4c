package reuse_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/clock"
)

func TestTokenIsRefreshedOnceBetweenHalfAndThreeFifthsOfItsLife(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ages := map[time.Duration]bool{}
		for range 20 {
			w.restart(1 << 20)
			old := w.get(app, plain)
			began := time.Now()
			w.slow(2 * time.Second)
			signed := w.count(func() {
				time.Sleep(5*time.Minute - time.Second)
				for same(old, w.get(app, plain)) {
					if time.Since(began) > 10*time.Minute {
						t.Fatal("never refreshed")
					}
					var wg sync.WaitGroup
					for range 10 { // callers at once
						wg.Go(func() {
							if now := w.get(app, plain); !now.Reused {
								t.Error("a caller was told that the token was made for him")
							}
						})
					}
					wg.Wait()
					time.Sleep(time.Second)
				}
			})
			age := time.Since(began)
			ages[age.Truncate(time.Second)] = true
			if signed != 1 || age < 5*time.Minute+2*time.Second || age > 6*time.Minute+4*time.Second {
				t.Errorf("%d signatures, the last %v after the first", signed, age)
			}
			w.store.Fail(nil)
			w.cache.Close()
		}
		if len(ages) < 5 {
			t.Errorf("20 tokens were refreshed at %v: no jitter", ages)
		}
	})
}

func TestOldTokenIsHandedOutDuringAnOutageAndTriesAreSpaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.get(app, plain)
		began := time.Now()
		var tries []time.Duration
		w.store.Fail(func(_ context.Context, op, id string) error {
			tries = append(tries, time.Since(began))
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
		})
		var failed time.Duration
		for failed == 0 {
			time.Sleep(20 * time.Millisecond)
			now, err := w.ask(t.Context(), app, plain)
			switch {
			case err == nil && !same(old, now):
				t.Fatal("a new token from a store that is away")
			case err != nil && !errors.Is(err, backends.ErrUnavailable):
				t.Fatal(err)
			case err != nil:
				failed = time.Since(began)
			}
			synctest.Wait()
		}
		if failed < 10*time.Minute*2/3 || failed > 10*time.Minute*2/3+time.Second {
			t.Errorf("callers fail after %v", failed)
		}
		tries = tries[:len(tries)-1] // the last was a caller's own
		if len(tries) < 5 || len(tries) > 20 {
			t.Fatalf("%d tries: %v", len(tries), tries)
		}
		grown := false
		for i := 1; i < len(tries); i++ {
			gap := tries[i] - tries[i-1]
			if gap < time.Second || gap > 31*time.Second {
				t.Errorf("try %d came %v after the one before", i, gap)
			}
			grown = grown || gap > 15*time.Second
		}
		if !grown {
			t.Errorf("waits do not grow: %v", tries)
		}
		if lines := strings.Count(w.log.String(), "token not refreshed"); lines != len(tries) {
			t.Errorf("%d lines for %d tries", lines, len(tries))
		}
		if _, err := w.ask(t.Context(), app, plain); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("the next caller: %v", err)
		}
		w.store.Fail(nil)
		if back := w.get(app, plain); same(old, back) {
			t.Error("the old token after its time")
		}
	})
}

func TestTriesAreSpacedFromTheEndOfTheOneBefore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.get(app, plain)
		var mu sync.Mutex
		var gaps []time.Duration
		var ended time.Time
		w.store.Fail(func(ctx context.Context, _, _ string) error { // the store hangs
			mu.Lock()
			if !ended.IsZero() {
				gaps = append(gaps, time.Since(ended))
			}
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			ended = time.Now()
			return ctx.Err()
		})
		for began := time.Now(); time.Since(began) < 6*time.Minute+39*time.Second; {
			time.Sleep(10 * time.Millisecond)
			w.get(app, plain)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(gaps) < 2 {
			t.Fatalf("gaps %v", gaps)
		}
		for _, gap := range gaps {
			if gap < time.Second {
				t.Errorf("tried again %v after the timeout", gap)
			}
		}
	})
}

func TestNewTokenIsTakenWhenTheStoreComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.get(app, plain)
		w.store.FailWith(backends.ErrUnavailable)
		for range 370 { // past three fifths
			time.Sleep(time.Second)
			w.get(app, plain)
		}
		w.store.FailWith(nil)
		back := time.Now()
		for same(old, w.get(app, plain)) {
			time.Sleep(time.Second)
			if time.Since(back) > 31*time.Second {
				t.Fatal("still the old token half a minute after the store came back")
			}
		}
	})
}

func TestFailureOfACallersOwnTryPutsTheRefreshOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.get(app, plain)
		time.Sleep(6 * time.Minute) // due
		calls := 0
		w.store.Fail(func(_ context.Context, op, id string) error {
			calls++
			time.Sleep(time.Second)
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.ask(t.Context(), app, atLeast(9*time.Minute)); !errors.Is(err, backends.ErrUnavailable) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 19 { // until a second after it failed
			if now := w.get(app, plain); !same(old, now) {
				t.Fatal("another token")
			}
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		if calls != 1 {
			t.Errorf("%d calls to the store", calls)
		}
		w.store.Fail(nil)
		time.Sleep(time.Second)
		w.get(app, plain)
		synctest.Wait()
		if now := w.get(app, plain); same(old, now) {
			t.Error("not refreshed any more")
		}
	})
}

func TestUntrustedClockSignsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		shared, gridded := w.get(team, plain), w.get(grid, plain)
		w.get(app, plain)
		w.step(-2 * time.Hour)
		signed := w.count(func() {
			for range 38 {
				for _, profile := range []string{app, once} {
					if _, err := w.ask(t.Context(), profile, plain); !errors.Is(err, clock.ErrUntrusted) {
						t.Fatalf("%s: %v", profile, err)
					}
				}
				if !same(shared, w.get(team, plain)) {
					t.Fatal("another shared token")
				}
				time.Sleep(time.Minute)
			}
			time.Sleep(2 * time.Minute) // two thirds of an hour
			for _, profile := range []string{team, grid} {
				if _, err := w.ask(t.Context(), profile, plain); !errors.Is(err, clock.ErrUntrusted) {
					t.Errorf("%s past its time: %v", profile, err)
				}
			}
		})
		if signed != 0 {
			t.Errorf("%d signatures", signed)
		}
		w.step(2 * time.Hour) // set right again
		if next := w.get(grid, plain); same(gridded, next) {
			t.Error("the token of a former window")
		}
		w.get(app, plain)
	})
}

func TestStepOfTheWallClockDropsTokens(t *testing.T) {
	for _, c := range []struct {
		step                time.Duration
		app, shared, signed bool // whether they are still handed out, and whether there can be others
	}{
		{4 * time.Second, true, true, true},
		{-4 * time.Second, true, true, true},
		{6 * time.Second, false, false, true},
		{time.Hour, false, false, true},
		{-6 * time.Second, false, true, false},
		{-time.Hour, false, true, false},
	} {
		t.Run(c.step.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				kept, shared, gridded := w.get(app, plain), w.get(team, plain), w.get(grid, plain)
				w.step(c.step)
				now, err := w.ask(t.Context(), app, plain)
				if c.app && (err != nil || !same(kept, now)) || !c.app && err == nil && same(kept, now) {
					t.Errorf("kept for one: error %v, the same %t", err, same(kept, now))
				}
				if c.signed != (err == nil) {
					t.Errorf("the clock is trusted: %v", err)
				}
				for profile, before := range map[string]string{team: shared.Compact.Reveal(), grid: gridded.Compact.Reveal()} {
					if now := w.get(profile, plain); (now.Compact.Reveal() == before) != c.shared {
						t.Errorf("%s: the same token %t", profile, !c.shared)
					}
				}
			})
		})
	}
}

func TestGridIsNotLeftEarlyForASmallStepBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.step(5 * time.Minute)
		first := w.get(grid, plain)
		w.step(-4 * time.Second)
		time.Sleep(first.RefreshTime.Sub(w.clock.Wall()) - time.Second)
		signed := w.count(func() {
			w.get(grid, plain)
			w.get(grid, atLeast(29*time.Minute))
			synctest.Wait()
		})
		if signed != 0 {
			t.Error("a second token of one window")
		}
		time.Sleep(time.Second)
		w.get(grid, plain)
		synctest.Wait()
		if next := w.get(grid, plain); same(first, next) || !next.IssueTime.Equal(first.IssueTime.Add(30*time.Minute)) {
			t.Errorf("issued at %v after %v", next.IssueTime, first.IssueTime)
		}
	})
}

func TestLogHoldsNoTokenAndNoClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		req := plain
		req.Claims = `{"sub":"` + secret + `"}`
		w.get(app, req)
		w.store.FailWith(backends.ErrUnavailable)
		time.Sleep(6 * time.Minute)
		w.get(app, req)
		synctest.Wait()
		w.store.Fail(func(context.Context, string, string) error { panic(secret) })
		time.Sleep(20 * time.Second)
		w.get(app, req)
		synctest.Wait()
		log := w.log.String()
		if strings.Count(log, "token not refreshed") != 2 || !strings.Contains(log, "panic of type string") {
			t.Errorf("log: %s", log)
		}
		w.config.Log.Info("x", "token", w.get(app, req), "draft", w.draft(app, req))
	})
}
