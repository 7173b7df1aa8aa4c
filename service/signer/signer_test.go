package signer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

// approved returns a claims set of the profile "p", whose key is "k".
func approved(t testing.TB) claims.Set {
	t.Helper()
	uid := uint32(1)
	grants := policy.New([]policy.Rule{{
		Name: "g", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{"p"},
	}})
	grant, err := grants.Decide(authn.FromUnix(authn.Unix{UID: 1}), "p")
	if err != nil {
		t.Fatal(err)
	}
	catalog := claims.New([]claims.Profile{{
		Name: "p", Key: "k", Typ: "JWT", DefaultTTL: time.Minute, MaxTTL: time.Hour,
		Rules: map[string]claims.Rule{"exp": {Computed: claims.ExpireTime}, "jti": {Computed: claims.UUID}},
	}}, nil)
	draft, err := catalog.Prepare(grant, claims.Request{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := draft.At(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// config is a Config over one fake store with the key "k".
func config(fake *backendtest.Fake) signer.Config {
	return signer.Config{
		Stores:  map[string]signer.Store{"s": {Backend: fake, MaxInFlight: 4, MaxQueue: 4, MinTime: 100 * time.Millisecond}},
		Keys:    []signer.Key{{Name: "k", Members: []signer.Member{{Store: "s", ID: "id"}}, KID: "kid-1"}},
		Timeout: 10 * time.Second,
		Random:  rand.Reader,
		Log:     slog.New(slog.DiscardHandler),
	}
}

func loaded(t testing.TB, cfg signer.Config) *signer.Signer {
	t.Helper()
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignedTokenVerifiesWithAnotherImplementation(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	signed, err := loaded(t, config(fake)).Sign(t.Context(), approved(t))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(signed.Token.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(fake.Public("id")); err != nil {
		t.Error(err)
	}
	header := parsed.Signatures[0].Header
	if header.KeyID != "kid-1" || header.Algorithm != "ES256" || header.ExtraHeaders["typ"] != "JWT" || signed.KID != "kid-1" {
		t.Errorf("header %+v, kid %q", header, signed.KID)
	}
}

func TestUnapprovedSetIsNotSigned(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	before := fake.Signed()
	if _, err := s.Sign(t.Context(), claims.Set{}); !errors.Is(err, signer.ErrUnapproved) {
		t.Errorf("the zero Set: %v", err)
	}
	if fake.Signed() != before {
		t.Error("a signature was spent")
	}
}

func TestLyingStoreLatchesItsKey(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	var healthy atomic.Bool
	cfg := config(fake)
	cfg.OnHealth = func(_ string, h bool) { healthy.Store(h) }
	s := loaded(t, cfg)
	if !healthy.Load() {
		t.Error("not healthy after Load")
	}
	fake.Lie(func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig })
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
		t.Fatalf("a wrong signature: %v", err)
	}
	fake.Lie(nil)
	before := fake.Signed()
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
		t.Errorf("after the lie: %v, want the latch", err)
	}
	if fake.Signed() != before || healthy.Load() {
		t.Error("the latched key was asked again, or counts as healthy")
	}
}

func TestRepeatedNonceLatchesTheKey(t *testing.T) {
	// No honest store can be made to repeat a nonce, so a signature that
	// verifies is stood in for: k = 1 over two digests, with a known key.
	key, sign := nonceRepeater(t)
	fake := &scriptedBackend{public: key, sign: sign}
	cfg := config(nil)
	cfg.Stores = map[string]signer.Store{"s": {Backend: fake, MaxInFlight: 1}}
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("a repeated nonce: %v", err)
	}
}

func TestPinnedKeyIsTheOnlyOne(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	spki, err := x509.MarshalPKIXPublicKey(fake.Public("id"))
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(spki)
	cfg := config(fake)
	cfg.Keys[0].SPKISHA256 = pin[:]
	loaded(t, cfg)

	fake.Replace(t, "id")
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); !errors.Is(err, backends.ErrKeyMismatch) {
		t.Errorf("another key than the pinned one: %v", err)
	}
	if _, ok := s.Public("k"); ok {
		t.Error("the wrong key is published")
	}
}

func TestKeySwappedUnderTheServerSignsNothing(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	fake.Replace(t, "id")
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrSignatureInvalid) {
		t.Errorf("signed by another key: %v", err)
	}
}

func TestInProcessKeyIsVerifiedWhereTheSettingSaysAlways(t *testing.T) {
	for _, always := range []bool{false, true} {
		fake := backendtest.NewFake(t, "id")
		fake.InProcess = true
		cfg := config(fake)
		cfg.Keys[0].VerifyAlways = always
		s := loaded(t, cfg)
		fake.Lie(func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig })
		failures := 0
		for range 1100 { // one in 1,024 is sampled
			if _, err := s.Sign(t.Context(), approved(t)); err != nil {
				failures++
			}
		}
		if always && failures != 1100 {
			t.Errorf("always: %d of 1100 wrong signatures were found", failures)
		}
		if !always && (failures == 0 || failures > 1024) {
			t.Errorf("sampled: %d of 1100 calls failed", failures)
		}
	}
}

func TestTooLittleTimeSpendsNoSignature(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	before := fake.Signed()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
	defer cancel()
	if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, signer.ErrNoTime) {
		t.Errorf("90 ms left: %v", err)
	}
	if fake.Signed() != before {
		t.Error("a signature was spent")
	}
}

func TestDeadlineReachesTheStoreWithTimeKeptToAnswer(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	want, _ := ctx.Deadline()
	fake.Fail(func(inner context.Context, _, _ string) error {
		got, ok := inner.Deadline()
		if early := want.Sub(got); !ok || early < 15*time.Millisecond || early > 50*time.Millisecond {
			t.Errorf("the store's deadline is %v ahead of the caller's", early)
		}
		return nil
	})
	if _, err := s.Sign(ctx, approved(t)); err != nil {
		t.Fatal(err)
	}
}

func TestSlowStoreIsUnavailableAndSlowCallerIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		s := loaded(t, config(fake))
		fake.Fail(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("the server's own timeout: %v, want ErrUnavailable", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's deadline: %v, want DeadlineExceeded", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller's cancellation: %v, want Canceled", err)
		}
	})
}

func TestInFlightAndQueueAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		s := loaded(t, config(fake)) // 4 in flight, 4 waiting, of whom one caller has three
		release := make(chan struct{})
		var inside, most atomic.Int64
		fake.Fail(func(context.Context, string, string) error {
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-release
			inside.Add(-1)
			return nil
		})
		var wg sync.WaitGroup
		var overloaded, done atomic.Int64
		for range 20 {
			wg.Go(func() {
				switch _, err := s.Sign(t.Context(), approved(t)); {
				case errors.Is(err, signer.ErrOverloaded):
					overloaded.Add(1)
				case err == nil:
					done.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if overloaded.Load() != 13 {
			t.Errorf("%d of 20 refused at once, want 13", overloaded.Load())
		}
		close(release)
		wg.Wait()
		if done.Load() != 7 || most.Load() != 4 {
			t.Errorf("%d signed with at most %d in flight, want 7 with 4", done.Load(), most.Load())
		}
	})
}

func TestWaitingCallerLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		s := loaded(t, config(fake))
		release := make(chan struct{})
		fake.Fail(func(context.Context, string, string) error { <-release; return nil })
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _, _ = s.Sign(t.Context(), approved(t)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller that left the queue: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

func TestStoreAwayAtTheStartHealsWithoutRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		var healthy atomic.Bool
		cfg := config(fake)
		cfg.OnHealth = func(_ string, h bool) { healthy.Store(h) }
		fake.Fail(func(_ context.Context, op, id string) error {
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
		})
		s, err := signer.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Load(t.Context()); err != nil {
			t.Fatalf("a store that is away ended the start: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("while it is away: %v", err)
		}
		fake.Fail(nil)
		time.Sleep(time.Minute) // of the fake clock
		synctest.Wait()
		if !healthy.Load() {
			t.Error("not healthy a minute after the store came back")
		}
		if _, err := s.Sign(ctx, approved(t)); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

func TestOutageIsNoticedAndHealsByCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		var reports []bool
		cfg := config(fake)
		cfg.OnHealth = func(_ string, h bool) { reports = append(reports, h) }
		s := loaded(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		fake.FailWith(backends.ErrUnavailable)
		for range 3 {
			if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, backends.ErrUnavailable) {
				t.Errorf("during the outage: %v", err)
			}
		}
		time.Sleep(10 * time.Second)
		fake.FailWith(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		cancel()
		wg.Wait()
		if len(reports) != 3 || !reports[0] || reports[1] || !reports[2] {
			t.Errorf("health went %v, want true, false, true", reports)
		}
	})
}

func TestFaultsOfTheConfigurationEndTheStart(t *testing.T) {
	mayPass := []error{
		backends.ErrUnavailable, backends.ErrThrottled, backends.ErrKeyDisabled,
		backends.ErrPINIncorrect, backends.ErrPINLocked,
	}
	for _, kind := range backends.Kinds() {
		fake := backendtest.NewFake(t, "id")
		fake.Fail(func(_ context.Context, op, id string) error { return &backends.Error{Op: op, KeyID: id, Kind: kind} })
		s, err := signer.New(config(fake))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Load(t.Context())
		if slices.Contains(mayPass, kind) {
			if err != nil {
				t.Errorf("%v ends the start, though it may pass", kind)
			}
		} else if !errors.Is(err, kind) || !strings.Contains(err.Error(), "key k:") {
			t.Errorf("%v: Load says %v", kind, err)
		}
	}
}

func TestLogHoldsNoTokenAndNoSignature(t *testing.T) {
	var log bytes.Buffer
	fake := backendtest.NewFake(t, "id")
	cfg := config(fake)
	cfg.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := loaded(t, cfg)
	signed, err := s.Sign(t.Context(), approved(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log.Info("x", "token", signed.Token, "signed", signed, "set", approved(t))
	fake.Lie(func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig })
	_, _ = s.Sign(t.Context(), approved(t))
	if strings.Contains(log.String(), "eyJ") || !strings.Contains(log.String(), "key latched") {
		t.Errorf("log: %s", log.String())
	}
}

func TestNoGoroutineOutlivesTheSigner(t *testing.T) {
	// synctest fails the test when a goroutine of the bubble is left.
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		s := loaded(t, config(fake))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		for range 100 {
			wg.Go(func() { _, _ = s.Sign(ctx, approved(t)) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, backends.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	fake := backendtest.NewFake(b, "id")
	fake.InProcess = true
	benchmarkSign(b, config(fake))
}

// BenchmarkSignVerified is of a key outside this process, with the time that a
// caller gives.
func BenchmarkSignVerified(b *testing.B) {
	benchmarkSign(b, config(backendtest.NewFake(b, "id")))
}

func BenchmarkSignVerifiedInTwoPlaces(b *testing.B) {
	cfg, _ := places(b, 2)
	benchmarkSign(b, cfg)
}

func benchmarkSign(b *testing.B, cfg signer.Config) {
	b.Helper()
	s := loaded(b, cfg)
	set := approved(b)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(ctx, set); err != nil {
			b.Fatal(err)
		}
	}
}
