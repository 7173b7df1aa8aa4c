package signer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/signer"
)

// places is a Config of the key "k" in several stores, "s1", "s2" and so on.
func places(t testing.TB, n int) (signer.Config, []*replica) {
	t.Helper()
	fake := backendtest.NewFake(t, "id")
	cfg := config(fake)
	cfg.Stores, cfg.Keys[0].Members = map[string]signer.Store{}, nil
	replicas := make([]*replica, n)
	for i := range replicas {
		name := fmt.Sprintf("s%d", i+1)
		replicas[i] = &replica{Fake: fake}
		cfg.Stores[name] = signer.Store{Backend: replicas[i], MaxInFlight: 4, MaxQueue: 4, MinTime: 100 * time.Millisecond}
		cfg.Keys[0].Members = append(cfg.Keys[0].Members, signer.Member{Store: name, ID: "id"})
	}
	return cfg, replicas
}

// running runs the signer's watch until the test, or its bubble, ends.
func running(t *testing.T, s *signer.Signer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// blackHole is a store that takes every call and answers none.
func blackHole(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// slowly is a store that takes so long for each signature.
func slowly(d time.Duration) func(context.Context, string, string) error {
	return func(ctx context.Context, op, _ string) error {
		if op != "sign" {
			return nil
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// member returns the state of a member.
func member(t *testing.T, s *signer.Signer, store string) signer.MemberStatus {
	t.Helper()
	for _, m := range s.Members("k") {
		if m.Store == store {
			return m
		}
	}
	t.Fatalf("no member in %s", store)
	return signer.MemberStatus{}
}

// firstOf returns the store that is asked first.
func firstOf(t *testing.T, s *signer.Signer) string {
	t.Helper()
	for _, m := range s.Members("k") {
		if m.First {
			return m.Store
		}
	}
	t.Fatalf("nobody can sign: %+v", s.Members("k"))
	return ""
}

func TestMembersSignInTheOrderOfTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 3)
		for _, store := range stores {
			store.fail(slowly(10 * time.Millisecond))
		}
		s := loaded(t, cfg)
		for range 20 {
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				t.Fatal(err)
			}
		}
		// One each for the canary.
		if stores[0].signed.Load() != 21 || stores[1].signed.Load() != 1 || stores[2].signed.Load() != 1 {
			t.Errorf("signed %d, %d and %d", stores[0].signed.Load(), stores[1].signed.Load(), stores[2].signed.Load())
		}
		for i, m := range s.Members("k") {
			if m.First != (i == 0) || m.Fault != nil || m.ID != "id" || m.CanonicalID != "fake:id" || m.Latency != 10*time.Millisecond {
				t.Errorf("member %+v", m)
			}
		}
	})
}

func TestNextMemberSignsWhateverTheFirstFailsWith(t *testing.T) {
	stays := map[error]bool{backends.ErrThrottled: true} // it is spared, and not out of use
	latches := map[error]bool{backends.ErrKeyMismatch: true}
	for _, kind := range backends.Kinds() {
		if errors.Is(kind, backends.ErrSignatureInvalid) || errors.Is(kind, backends.ErrClosed) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			cfg, stores := places(t, 2)
			var reports []bool
			cfg.OnHealth = func(_ string, healthy bool) { reports = append(reports, healthy) }
			s := loaded(t, cfg)
			stores[0].failWith(kind)
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				t.Fatalf("%v: %v", kind, err)
			}
			asked := stores[0].calls.Load()
			if _, err := s.Sign(t.Context(), approved(t)); err != nil || stores[0].calls.Load() != asked {
				t.Errorf("%v: the first was asked again at once, or %v", kind, err)
			}
			if fault := member(t, s, "s1").Fault; stays[kind] != (fault == nil) || fault != nil && !errors.Is(fault, kind) {
				t.Errorf("%v: the first member says %v", kind, fault)
			}
			if _, err := s.Version("k"); err != nil || s.Fault("k") != nil || len(reports) != 1 || !reports[0] {
				t.Errorf("%v: the key counts as ill: %v, %v, %v", kind, err, s.Fault("k"), reports)
			}
			running(t, s)
			stores[0].fail(nil)
			time.Sleep(2 * time.Minute)
			if m := member(t, s, "s1"); latches[kind] == (m.Fault == nil) || m.First == latches[kind] {
				t.Errorf("%v: once it is over: %+v", kind, m)
			}
		})
	}
}

func TestWrongSignatureLatchesTheKeyInAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		var healthy atomic.Bool
		cfg.OnHealth = func(_ string, h bool) { healthy.Store(h) }
		s := loaded(t, cfg)
		lie := func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig }
		stores[0].lie.Store(&lie)
		for range 2 {
			if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
				t.Errorf("a wrong signature: %v", err)
			}
		}
		if stores[0].signed.Load() != 2 || stores[1].signed.Load() != 1 {
			t.Errorf("asked on: %d and %d signatures", stores[0].signed.Load(), stores[1].signed.Load())
		}
		if _, err := s.Version("k"); !errors.Is(err, backends.ErrSignatureInvalid) || healthy.Load() {
			t.Errorf("version: %v, healthy %t", err, healthy.Load())
		}
		if !errors.Is(member(t, s, "s1").Fault, backends.ErrSignatureInvalid) || member(t, s, "s2").Fault != nil {
			t.Errorf("members %+v", s.Members("k"))
		}
	})
}

func TestLieThatOneCallMeetsStopsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		stores[0].fail(blackHole)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
				t.Errorf("a call that waited meanwhile: %v", err)
			}
		})
		synctest.Wait()
		stores[0].fail(nil)
		lie := func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig }
		stores[0].lie.Store(&lie)
		_, _ = s.Sign(t.Context(), approved(t))
		wg.Wait()
		if signed := stores[1].signed.Load(); signed != 1 {
			t.Errorf("the other place signed %d times", signed)
		}
	})
}

func TestNonceThatTwoPlacesRepeatLatchesTheKey(t *testing.T) {
	public, sign := nonceRepeater(t)
	cfg := config(nil)
	cfg.Stores = map[string]signer.Store{}
	cfg.Keys[0].Members = nil
	for _, name := range []string{"s1", "s2"} {
		cfg.Stores[name] = signer.Store{Backend: &scriptedBackend{public: public, sign: sign}, MaxInFlight: 1}
		cfg.Keys[0].Members = append(cfg.Keys[0].Members, signer.Member{Store: name, ID: "id"})
	}
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The canaries alone have a nonce in common.
	if err := s.Load(t.Context()); !errors.Is(err, backends.ErrSignatureInvalid) || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("two places with one nonce: %v", err)
	}
}

func TestPlacesWithDifferentKeysEndTheStart(t *testing.T) {
	cfg, _ := places(t, 2)
	store := cfg.Stores["s2"]
	store.Backend = backendtest.NewFake(t, "id")
	cfg.Stores["s2"] = store
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Load(t.Context())
	if !errors.Is(err, backends.ErrKeyMismatch) {
		t.Fatalf("two keys as one: %v", err)
	}
	for _, word := range []string{"key k:", `"s1"`, `"s2"`, "hold different keys", "spki_sha256"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("no %s in %v", word, err)
		}
	}
}

func TestPlaceThatComesBackWithAnotherKeyIsLatchedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		stores[1].failWith(backends.ErrUnavailable)
		s := loaded(t, cfg)
		running(t, s)
		stores[1].Fake = backendtest.NewFake(t, "id") // no call reads it before the fault ends
		stores[1].fail(nil)
		time.Sleep(2 * time.Minute)
		if m := member(t, s, "s2"); !errors.Is(m.Fault, backends.ErrKeyMismatch) {
			t.Errorf("the other key: %+v", m)
		}
		if _, err := s.Sign(t.Context(), approved(t)); err != nil || s.Fault("k") != nil {
			t.Errorf("the place with the key: %v, %v", err, s.Fault("k"))
		}
		if signed := stores[1].signed.Load(); signed != 0 {
			t.Errorf("the other key signed %d times", signed)
		}
		stores[0].failWith(backends.ErrUnavailable)
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("with the place of the key away: %v", err)
		}
	})
}

func TestFullQueueGoesOnToTheNextPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2) // 4 in flight, 4 waiting
		s := loaded(t, cfg)
		stores[0].fail(slowly(200 * time.Millisecond))
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if _, err := s.Sign(t.Context(), approved(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if stores[0].signed.Load() < 5 || stores[1].signed.Load() < 5 || s.Fault("k") != nil {
			t.Errorf("signed %d and %d, fault %v", stores[0].signed.Load(), stores[1].signed.Load(), s.Fault("k"))
		}
	})
}

func TestThrottlingPlaceIsSparedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		stores[0].fail(func(_ context.Context, op, id string) error {
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrThrottled, RetryAfter: 300 * time.Millisecond}
		})
		for range 10 {
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				t.Fatal(err)
			}
		}
		if calls := stores[0].calls.Load(); calls != 3 { // describe, canary, and one that was throttled
			t.Errorf("asked %d times while it throttles", calls)
		}
		stores[1].failWith(backends.ErrUnavailable)
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrThrottled) {
			t.Errorf("one throttles and one is away: %v", err)
		}
		stores[0].fail(nil)
		if _, err := s.Sign(t.Context(), approved(t)); err != nil {
			t.Errorf("spared, and the only one: %v", err)
		}
		time.Sleep(300 * time.Millisecond)
		if m := member(t, s, "s1"); !m.First || m.Fault != nil {
			t.Errorf("after the pause: %+v", m)
		}
	})
}

func TestCallerWhoGoesIsNotServedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		stores[0].fail(blackHole)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, context.Canceled) || time.Since(began) != 50*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if stores[1].signed.Load() != 1 {
			t.Error("a signature was spent on nobody")
		}
	})
}

func TestKeyIsIllWhenNoPlaceIsLeftAndHealsWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		var reports []bool
		cfg.OnHealth = func(_ string, healthy bool) { reports = append(reports, healthy) }
		for _, store := range stores {
			store.failWith(backends.ErrUnavailable)
		}
		s := loaded(t, cfg)
		running(t, s)
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("both away from the start: %v", err)
		}
		stores[1].fail(nil)
		time.Sleep(time.Minute)
		if _, err := s.Sign(t.Context(), approved(t)); err != nil {
			t.Errorf("one came back: %v", err)
		}
		stores[1].failWith(backends.ErrUnavailable)
		_, err := s.Sign(t.Context(), approved(t))
		if !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("both away again: %v", err)
		}
		stores[0].fail(nil)
		time.Sleep(2 * time.Minute)
		if _, err := s.Sign(t.Context(), approved(t)); err != nil {
			t.Errorf("the other came back: %v", err)
		}
		synctest.Wait()
		if want := []bool{false, true, false, true}; fmt.Sprint(reports) != fmt.Sprint(want) {
			t.Errorf("health went %v, want %v", reports, want)
		}
	})
}

func TestErrorOfAllPlacesSaysWhatEachSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		stores[0].failWith(backends.ErrKeyDisabled)
		stores[1].failWith(backends.ErrUnavailable)
		_, err := s.Sign(t.Context(), approved(t))
		if !errors.Is(err, backends.ErrUnavailable) || errors.Is(err, backends.ErrKeyDisabled) {
			t.Errorf("one may be back, so the caller should come again: %v", err)
		}
		if want := "s1: sign id: key is disabled; s2: sign id: key store is unavailable"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		// With nobody to ask, what somebody has taken away stays taken away.
		if _, err := s.Version("k"); !errors.Is(err, backends.ErrKeyDisabled) {
			t.Errorf("version: %v", err)
		}
	})
}

func TestNearPlaceIsAskedFirstAndALittleMoreOrLessMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		stores[0].fail(slowly(100 * time.Millisecond))
		stores[1].fail(slowly(20 * time.Millisecond))
		s := loaded(t, cfg)
		running(t, s)
		first := func() string {
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				t.Fatal(err)
			}
			return firstOf(t, s)
		}
		if first() != "s2" {
			t.Error("the far one is asked")
		}
		// s2 has become as far as s1: who is asked first, stays so.
		stores[1].fail(slowly(110 * time.Millisecond))
		moved := 0
		before := "s2"
		for i := range 500 {
			stores[0].fail(slowly(time.Duration(100+i%30) * time.Millisecond))
			time.Sleep(5 * time.Second)
			if now := first(); now != before {
				moved, before = moved+1, now
			}
		}
		if moved > 1 {
			t.Errorf("moved %d times between two that are about as near", moved)
		}
		// s1 is near again.
		stores[0].fail(slowly(10 * time.Millisecond))
		time.Sleep(10 * time.Minute)
		if first() != "s1" {
			t.Errorf("the far one is still asked: %+v", s.Members("k"))
		}
	})
}

func TestPlaceThatIsNotNeededIsTestedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		running(t, s)
		stores[1].failWith(backends.ErrAccessDenied)
		for range 100 {
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if m := member(t, s, "s2"); !errors.Is(m.Fault, backends.ErrAccessDenied) {
			t.Errorf("the spare wheel is flat, and nobody knows: %+v", m)
		}
		stores[1].fail(nil)
		before := stores[1].signed.Load()
		time.Sleep(time.Hour)
		if tests := stores[1].signed.Load() - before; tests < 59 || tests > 130 {
			t.Errorf("%d canaries in an hour", tests)
		}
		if s.Fault("k") != nil || member(t, s, "s2").Fault != nil {
			t.Errorf("members %+v", s.Members("k"))
		}
	})
}

func TestPlaceThatIsNeededIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		s := loaded(t, cfg)
		running(t, s)
		stores[1].failWith(backends.ErrUnavailable)
		time.Sleep(20 * time.Minute) // it is tried once a minute now
		stores[1].fail(nil)
		stores[0].failWith(backends.ErrUnavailable)
		_, _ = s.Sign(t.Context(), approved(t))
		synctest.Wait()
		if member(t, s, "s2").Fault != nil {
			t.Errorf("members %+v", s.Members("k"))
		}
	})
}

func TestMembersAreOneToEight(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, signer.MaxMembers: true, signer.MaxMembers + 1: false} {
		cfg, _ := places(t, n)
		if _, err := signer.New(cfg); (err == nil) != ok {
			t.Errorf("%d members: %v", n, err)
		}
	}
}
