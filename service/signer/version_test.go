package signer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/signer"
)

func TestVersionChangesWithKIDAndPublicKeyAlone(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	cfg := config(fake)
	version := func() signer.Version {
		t.Helper()
		v, err := loaded(t, cfg).Version("k")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := version()
	spki, err := x509.MarshalPKIXPublicKey(fake.Public("id"))
	if err != nil {
		t.Fatal(err)
	}
	if first.KID != "kid-1" || first.SPKI != sha256.Sum256(spki) {
		t.Errorf("version %+v", first)
	}
	if again := version(); again != first {
		t.Errorf("another signer says %+v", again)
	}
	cfg.Keys[0].KID = "kid-2"
	renamed := version()
	if renamed == first || renamed.SPKI != first.SPKI {
		t.Errorf("after another kid: %+v", renamed)
	}
	fake.Replace(t, "id")
	if replaced := version(); replaced == renamed || replaced.SPKI == renamed.SPKI {
		t.Errorf("after another key: %+v", replaced)
	}
}

func TestUnknownKeyHasNothing(t *testing.T) {
	s := loaded(t, config(backendtest.NewFake(t, "id")))
	if _, err := s.Version("x"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("Version: %v", err)
	}
	if err := s.Fault("x"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("Fault: %v", err)
	}
	if err := s.Affords(t.Context(), "x"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("Affords: %v", err)
	}
	if point, err := s.Point("x"); !errors.Is(err, signer.ErrNotReady) || point != nil {
		t.Errorf("Point: %x, %v", point, err)
	}
	if kid := s.KID("x"); kid != "" {
		t.Errorf("KID: %q", kid)
	}
}

func TestKeyThatWasNeverReadHasNoVersionAndSaysWhy(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s, err := signer.New(config(fake))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version("k"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("before Load: %v", err)
	}
	if err := s.Fault("k"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("before Load: fault %v", err)
	}
	fake.Fail(func(_ context.Context, op, id string) error {
		return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
	})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version("k"); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("with the store away since the start: %v", err)
	}
	if err := s.Fault("k"); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("with the store away since the start: fault %v", err)
	}
	if err := s.Affords(t.Context(), "k"); err != nil {
		t.Errorf("Affords: %v", err)
	}
	if _, err := s.Point("k"); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("Point: %v", err)
	}
	if s.KID("k") != "kid-1" {
		t.Errorf("KID: %q", s.KID("k"))
	}
}

// afterFault is the signer's word on a key whose store failed once so.
func afterFault(t *testing.T, kind error) (versionErr, fault error) {
	t.Helper()
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	fake.FailWith(kind)
	if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, kind) {
		t.Fatalf("%v: Sign says %v", kind, err)
	}
	_, versionErr = s.Version("k")
	return versionErr, s.Fault("k")
}

func TestVersionIsRefusedForARevokedKeyAndNotForAnAbsentStore(t *testing.T) {
	revoked := map[error]bool{
		backends.ErrKeyDisabled: true, backends.ErrKeyNotFound: true, backends.ErrAccessDenied: true,
		backends.ErrKeyMismatch: true, backends.ErrKeyUnsuitable: true, backends.ErrSignatureInvalid: true,
	}
	quiet := map[error]bool{backends.ErrThrottled: true, backends.ErrClosed: true} // not the key's
	for _, kind := range backends.Kinds() {
		versionErr, fault := afterFault(t, kind)
		if revoked[kind] && !errors.Is(versionErr, kind) || !revoked[kind] && versionErr != nil {
			t.Errorf("%v: Version says %v", kind, versionErr)
		}
		if quiet[kind] && fault != nil || !quiet[kind] && !errors.Is(fault, kind) {
			t.Errorf("%v: Fault says %v", kind, fault)
		}
	}
}

func TestVersionComesBackWithTheKeyUnlessItIsLatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake(t, "id")
		s := loaded(t, config(fake))
		before, err := s.Version("k")
		if err != nil || s.Fault("k") != nil {
			t.Fatal(err, s.Fault("k"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		fake.FailWith(backends.ErrKeyDisabled)
		_, _ = s.Sign(ctx, approved(t))
		if _, err := s.Version("k"); !errors.Is(err, backends.ErrKeyDisabled) {
			t.Errorf("disabled: %v", err)
		}
		fake.FailWith(nil)
		time.Sleep(time.Minute)
		if now, err := s.Version("k"); err != nil || now != before || s.Fault("k") != nil {
			t.Errorf("enabled again: %+v, %v, fault %v", now, err, s.Fault("k"))
		}
		fake.Lie(func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig })
		_, _ = s.Sign(ctx, approved(t))
		fake.Lie(nil)
		time.Sleep(time.Hour)
		if _, err := s.Version("k"); !errors.Is(err, backends.ErrSignatureInvalid) || !errors.Is(s.Fault("k"), backends.ErrSignatureInvalid) {
			t.Errorf("latched: %v, fault %v", err, s.Fault("k"))
		}
		cancel()
		wg.Wait()
	})
}

func TestAffordsAsksForTimeOfDistantKeysAlone(t *testing.T) {
	for _, inProcess := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			fake := backendtest.NewFake(t, "id")
			fake.InProcess = inProcess
			s := loaded(t, config(fake)) // MinTime is 100 ms, and 20 ms are for the answer
			if err := s.Affords(t.Context(), "k"); err != nil {
				t.Errorf("no deadline: %v", err)
			}
			for left, enough := range map[time.Duration]bool{
				time.Second: true, 120 * time.Millisecond: true, 119 * time.Millisecond: inProcess, time.Millisecond: inProcess,
			} {
				ctx, cancel := context.WithTimeout(t.Context(), left)
				err := s.Affords(ctx, "k")
				if enough && err != nil || !enough && !errors.Is(err, signer.ErrNoTime) {
					t.Errorf("in process %t, %v left: %v", inProcess, left, err)
				}
				time.Sleep(left)
				synctest.Wait()
				if err := s.Affords(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("in process %t, past the deadline: %v", inProcess, err)
				}
				cancel()
			}
		})
	}
}

func TestPointIsTheUncompressedPublicKey(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	point, err := s.Point("k")
	if err != nil || len(point) != 65 || point[0] != 4 {
		t.Fatalf("%x, %v", point, err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil || !public.Equal(fake.Public("id")) {
		t.Errorf("another key: %v", err)
	}
	point[1] ^= 1
	if again, err := s.Point("k"); err != nil || bytes.Equal(again, point) {
		t.Error("the answer is not the caller's own")
	}
}

func TestRevokedKeyStaysRevokedWhenItsStoreThenGoesAway(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	s := loaded(t, config(fake))
	for _, kind := range []error{backends.ErrKeyDisabled, backends.ErrUnavailable} {
		fake.FailWith(kind)
		if _, err := s.Sign(t.Context(), approved(t)); !errors.Is(err, kind) {
			t.Fatalf("%v: %v", kind, err)
		}
		if _, err := s.Version("k"); !errors.Is(err, backends.ErrKeyDisabled) {
			t.Errorf("after %v: %v", kind, err)
		}
	}
	fake.FailWith(nil)
	if _, err := s.Sign(t.Context(), approved(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version("k"); err != nil {
		t.Errorf("after it signed again: %v", err)
	}
}
