package reuse_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/reuse"
)

func TestOneTimeProfileMakesATokenForEachRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, profile := range []string{once, ends} {
			seen := map[string]bool{}
			signed := w.count(func() {
				for range 5 {
					made := w.get(profile, plain)
					if seen[made.Compact.Reveal()] || made.Reused || !made.RefreshTime.IsZero() {
						t.Errorf("%s: repeated %t, reused %t, refresh at %v", profile, seen[made.Compact.Reveal()], made.Reused, made.RefreshTime)
					}
					seen[made.Compact.Reveal()] = true
				}
			})
			if signed != 5 || w.cache.Len() != 0 {
				t.Errorf("%s: %d signatures for 5 requests, %d tokens kept", profile, signed, w.cache.Len())
			}
		}
	})
}

func TestSameRequestGetsTheSameToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ten := 10 * time.Minute
		first := w.get(app, claims.Request{Claims: `{"sub":"a","n":1}`})
		if first.Reused || first.KID != "kid-1" || !first.IssueTime.Equal(start) || !first.ExpireTime.Equal(start.Add(ten)) ||
			!first.EndTime.Equal(first.ExpireTime) || !first.RefreshTime.Equal(start.Add(ten*2/3)) {
			t.Errorf("first: %+v", first)
		}
		for _, req := range []claims.Request{
			{Claims: `{"sub":"a","n":1}`},
			{Claims: ` { "n" : 1 , "sub" : "\u0061" } `}, // written differently
			{Claims: `{"sub":"a","n":1}`, TTL: &ten},     // as the profile has it
		} {
			if again := w.get(app, req); !same(first, again) || !again.Reused {
				t.Errorf("%s: another token, or not said to be reused", req.Claims)
			}
		}
		if got, want := payload(t, first), fmt.Sprintf(`{"exp":%d,"iat":%d,"n":1,"sub":"a"}`, start.Add(ten).Unix(), start.Unix()); got != want {
			t.Errorf("claims %s, want %s", got, want)
		}
	})
}

func TestDifferentRequestsDoNotShareAToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		short := 5 * time.Minute
		seen := map[string]string{}
		for name, made := range map[string]reuse.Token{
			"plain":           w.get(app, plain),
			"sub":             w.get(app, claims.Request{Claims: `{"sub":"a"}`}),
			"another sub":     w.get(app, claims.Request{Claims: `{"sub":"b"}`}),
			"number for text": w.get(app, claims.Request{Claims: `{"n":1}`}),
			"both":            w.get(app, claims.Request{Claims: `{"n":1,"sub":"a"}`}),
			"ttl":             w.get(app, claims.Request{TTL: &short}),
			"profile":         w.get(twin, plain),
			"key":             w.get(other, plain),
		} {
			if before, ok := seen[made.Compact.Reveal()]; ok || made.Reused {
				t.Errorf("%s got the token of %q", name, before)
			}
			seen[made.Compact.Reveal()] = name
		}
	})
}

func TestNewVersionOfAKeyHasItsOwnTokens(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		before := w.signer
		old, oldTeam := w.get(app, plain), w.get(team, plain)

		rename := w.config
		rename.Keys = append(rename.Keys[:0:0], rename.Keys...)
		rename.Keys[0].KID = "kid-new"
		w.signer = w.loaded(rename)
		renamed := w.get(app, plain)
		if same(old, renamed) || renamed.Reused || renamed.KID != "kid-new" {
			t.Errorf("another kid: the same token %t, kid %q", same(old, renamed), renamed.KID)
		}
		newTeam := w.get(team, plain)

		w.store.Replace(t, "id")
		w.signer = w.loaded(w.config)
		if replaced := w.get(app, plain); same(old, replaced) || replaced.Reused {
			t.Error("another public key: the same token")
		}

		// Calls of the configuration before, which are still under way, keep
		// theirs and take nothing away.
		w.signer = before
		if again := w.get(app, plain); !same(old, again) {
			t.Error("the old key's token is gone")
		}
		if again := w.get(team, plain); !same(oldTeam, again) || same(oldTeam, newTeam) {
			t.Error("the old key's shared token is gone")
		}
	})
}

func TestTokenIsNotHandedOutInTheLastThirdOfItsLife(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.get(app, plain)
		w.store.FailWith(backends.ErrUnavailable) // no refresh succeeds
		time.Sleep(10*time.Minute*2/3 - time.Nanosecond)
		if late := w.get(app, plain); !same(first, late) {
			t.Error("another token just ahead of the last third")
		}
		synctest.Wait()
		w.store.FailWith(nil)
		time.Sleep(time.Nanosecond)
		if next := w.get(app, plain); same(first, next) || next.Reused {
			t.Error("the same token in the last third")
		}
	})
}

func TestCallerWhoNeedsALongerLifeGetsANewTokenForAll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.get(app, plain)
		time.Sleep(time.Minute)
		if again := w.get(app, atLeast(9*time.Minute)); !same(first, again) {
			t.Error("nine minutes were left, and another token came")
		}
		longer := w.get(app, atLeast(9*time.Minute+time.Second))
		if same(first, longer) || longer.Reused {
			t.Error("less was left than the caller needs")
		}
		if after := w.get(app, plain); !same(longer, after) || !after.Reused {
			t.Error("the new token did not replace the old one")
		}
		// Less than a third cannot be asked for.
		time.Sleep(10*time.Minute*2/3 + time.Second)
		if late := w.get(app, atLeast(time.Second)); same(longer, late) {
			t.Error("a token in its last third, to one who asks for little")
		}
	})
}

func TestSharedTokenIsNotMadeAnewBeforeItsMinAge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(300 * time.Millisecond) // iat drops the fraction
		first := w.get(team, plain)
		signed := w.count(func() {
			for range 1199 {
				time.Sleep(time.Second)
				for _, req := range []claims.Request{plain, atLeast(40 * time.Minute), atLeast(30 * time.Minute)} {
					if again := w.get(team, req); !same(first, again) || !again.Reused {
						t.Fatal("another token within min_age")
					}
				}
			}
		})
		time.Sleep(900 * time.Millisecond)
		if again := w.get(team, atLeast(40*time.Minute)); signed != 0 || !same(first, again) {
			t.Errorf("%d signatures; the same token just ahead of min_age %t", signed, same(first, again))
		}
		time.Sleep(2 * time.Second)
		if next := w.get(team, atLeast(40*time.Minute)); same(first, next) {
			t.Error("the same token past min_age, with less left than the caller needs")
		}
	})
}

func TestMinAgeOfTwoThirdsOfTheLifeHolds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := profiles()
		for i := range all {
			if all[i].Name == team {
				all[i].Reuse.MinAge = 40 * time.Minute // the most that a configuration can have
			}
		}
		w.catalog = claims.New(all, nil)
		time.Sleep(900 * time.Millisecond)
		first := w.get(team, plain)
		time.Sleep(40*time.Minute - time.Millisecond)
		if again := w.get(team, plain); !same(first, again) {
			t.Error("another token within min_age")
		}
		time.Sleep(time.Millisecond)
		if next := w.get(team, plain); same(first, next) {
			t.Error("the same token in the last third of its life")
		}
	})
}

func TestGridGivesReplicasTheSameIssueTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one := w.cache
		early := w.get(grid, plain)
		time.Sleep(5*time.Minute + 300*time.Millisecond)
		clockOfOne, skew := w.clock, w.skew.Load()
		w.restart(1 << 20) // another replica, which began later
		w.skew.Store(skew)
		two, clockOfTwo := w.cache, w.clock
		defer one.Close()
		replica := func(n int) reuse.Token {
			w.cache, w.clock = one, clockOfOne
			if n == 2 {
				w.cache, w.clock = two, clockOfTwo
			}
			made := w.get(grid, plain)
			w.cache = two
			return made
		}
		late := replica(2)
		// 12:00 less a minute lies in the window of 11:30, which the server
		// leaves at 12:01.
		if early.IssueTime.Equal(late.IssueTime) {
			t.Fatal("the boundary at 12:01 passed unnoticed")
		}
		if now := replica(1); !same(now, early) {
			t.Error("the first after the boundary waited") // and has it refreshed
		}
		time.Sleep(time.Second)
		for range 4 {
			a, b := replica(1), replica(2)
			if !a.IssueTime.Equal(b.IssueTime) || payload(t, a) != payload(t, b) || a.IssueTime.Unix()%1800 != 0 {
				t.Errorf("replicas issued at %v and %v", a.IssueTime, b.IssueTime)
			}
			boundary := a.RefreshTime
			if !b.RefreshTime.Equal(boundary) || !boundary.Equal(a.IssueTime.Add(31*time.Minute)) {
				t.Errorf("refresh at %v and %v", boundary, b.RefreshTime)
			}
			time.Sleep(boundary.Sub(w.clock.Wall()) - time.Nanosecond)
			if !same(a, replica(1)) || !same(b, replica(2)) {
				t.Error("changed ahead of the boundary")
			}
			time.Sleep(time.Nanosecond)
			replica(1)
			replica(2)
			time.Sleep(time.Millisecond)
			if same(a, replica(1)) || same(b, replica(2)) {
				t.Error("not changed at the boundary")
			}
		}
	})
}

func TestSharedTokensAreNeverEvicted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.restart(64 << 10)
		shared, gridded := w.get(team, plain), w.get(grid, plain)
		for i := range 2000 {
			w.get(app, claims.Request{Claims: fmt.Sprintf(`{"n":%d}`, i)})
		}
		if !same(shared, w.get(team, plain)) || !same(gridded, w.get(grid, plain)) {
			t.Error("a shared token was evicted")
		}
		if w.cache.Weight() > 64<<10 || w.cache.Len() > 100 {
			t.Errorf("%d tokens of %d bytes are kept", w.cache.Len(), w.cache.Weight())
		}
	})
}

func TestSharedTokensOfFormerProfilesAreDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 10 { // ten configurations, each with another rule
			all := profiles()
			for j := range all {
				all[j].Typ = fmt.Sprintf("v%d", i)
			}
			w.catalog = claims.New(all, nil)
			w.get(team, plain)
		}
		if w.cache.Len() != 10 {
			t.Fatalf("%d are kept", w.cache.Len())
		}
		time.Sleep(time.Hour)
		w.get(team, plain)
		if w.cache.Len() != 1 {
			t.Errorf("%d are kept an hour later", w.cache.Len())
		}
	})
}

func TestRevokedKeyHandsOutNothingAndAbsentStoreDoes(t *testing.T) {
	for kind, revoked := range map[error]bool{
		backends.ErrKeyDisabled: true, backends.ErrKeyNotFound: true, backends.ErrAccessDenied: true,
		backends.ErrKeyMismatch: true, backends.ErrKeyUnsuitable: true, backends.ErrSignatureInvalid: true,
		backends.ErrUnavailable: false, backends.ErrThrottled: false, backends.ErrPINLocked: false,
	} {
		t.Run(kind.Error(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				kept, shared := w.get(app, plain), w.get(team, plain)
				w.store.FailWith(kind)
				if _, err := w.ask(t.Context(), once, plain); !errors.Is(err, kind) {
					t.Fatalf("a new token: %v", err)
				}
				again, err := w.ask(t.Context(), app, plain)
				sharedAgain, sharedErr := w.ask(t.Context(), team, plain)
				if revoked {
					if !errors.Is(err, kind) || !errors.Is(sharedErr, kind) {
						t.Errorf("kept tokens of a key that was taken away: %v, %v", err, sharedErr)
					}
				} else if err != nil || sharedErr != nil || !same(kept, again) || !same(shared, sharedAgain) {
					t.Errorf("kept tokens of a key whose store is away: %v, %v", err, sharedErr)
				}
			})
		})
	}
}
