//go:build cgo && unix

package pkcs11

import (
	"errors"
	"sync"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

func TestDeadSessionIsReplacedWithinTheCall(t *testing.T) {
	for _, code := range []uint{
		p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_OPERATION_ACTIVE, p11.CKR_DEVICE_ERROR, p11.CKR_FUNCTION_FAILED,
	} {
		for name, call := range map[string]int{"C_SignInit": callSignInit, "C_Sign": callSign} {
			t.Run(name+" "+p11.Error(code).Error(), func(t *testing.T) {
				h := newFaultHSM(t)
				b := openQuick(t, h.uri("max-sessions=1"))
				mustSign(t, b)
				opened := h.calls(callOpenSession)
				h.failNext(call, code, 1)
				mustSign(t, b)
				if got := h.calls(callOpenSession) - opened; got != 1 {
					t.Errorf("%d sessions opened, want 1", got)
				}
				if h.calls(callLogin) != 1 || h.calls(callInitialize) != 1 {
					t.Errorf("%d logins and %d initialisations, want one each", h.calls(callLogin), h.calls(callInitialize))
				}
			})
		}
	}
}

func TestAllSessionsDeadAreReplaced(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	h.bump(wordSessionEpoch) // the anchor's too, and the login with it
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if err := signOnce(b, t); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := h.calls(callLogin); got != 2 {
		t.Errorf("%d logins, want 2", got)
	}
}

func TestLostHandleIsFoundAgain(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	h.bump(wordHandleEpoch)
	mustSign(t, b)
	if got := h.calls(callLogin); got != 1 {
		t.Errorf("%d logins, want 1: only the handle was lost", got)
	}
}

func TestDeviceErrorIsMendedByInitialisingAgain(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	for round := 1; round < 4; round++ {
		mustSign(t, b)
		if h.calls(callInitialize) != round || h.calls(callLogin) != round {
			t.Fatalf("%d initialisations and %d logins, want %d each", h.calls(callInitialize), h.calls(callLogin), round)
		}
		h.set(wordDead, 1)
		h.bump(wordHandleEpoch)
	}
}

func TestQuarantineFailsFastAndHeals(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	h.set(wordDead, 2)
	if err := signOnce(b, t); !isUnavailable(err) {
		t.Fatalf("Sign on a dead device = %v", err)
	}
	tries := h.calls(callInitialize)
	start := time.Now()
	for range 1000 {
		if err := signOnce(b, t); !isUnavailable(err) {
			t.Fatalf("Sign in quarantine = %v", err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("1000 calls in quarantine took %v", took)
	}
	// The pauses are 20 ms and growing, whatever the callers do.
	if got, most := h.calls(callInitialize)-tries, int(time.Since(start)/(20*time.Millisecond))+2; got > most {
		t.Errorf("%d initialisations in %v, want at most %d", got, time.Since(start), most)
	}
	h.set(wordDead, 0)
	eventually(t, 5*time.Second, func() error { return signOnce(b, t) })
}

func TestTokenRemovedAndBack(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	h.set(wordNotPresent, 1)
	h.failNext(callSign, p11.CKR_DEVICE_REMOVED, 2)
	if err := signOnce(b, t); !isUnavailable(err) {
		t.Fatalf("Sign without the token = %v", err)
	}
	h.set(wordNotPresent, 0)
	eventually(t, 5*time.Second, func() error { return signOnce(b, t) })
}

func TestFlappingTokenIsNotHurried(t *testing.T) {
	h := newFaultHSM(t)
	h.failNext(callLogin, p11.CKR_DEVICE_ERROR, always)
	b := openQuick(t, h.uri())
	start := time.Now()
	for time.Since(start) < 300*time.Millisecond {
		if err := signOnce(b, t); !errors.Is(err, backends.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if got := h.calls(callInitialize); got > 12 {
		t.Errorf("%d initialisations in 300 ms with pauses of 20 ms and growing", got)
	}
	h.set(wordFailTimes, 0)
	eventually(t, 5*time.Second, func() error { return signOnce(b, t) })
}

func TestAnotherPublicKeyLatches(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	if _, err := b.Describe(t.Context(), "object=key"); err != nil {
		t.Fatal(err)
	}
	h.set(wordDead, 1)
	h.set(wordOtherKey, 1)
	signed := h.calls(callSign)
	for range 3 {
		wantKind(t, signOnce(b, t), backends.ErrKeyMismatch)
		_, err := b.Describe(t.Context(), "object=key")
		wantKind(t, err, backends.ErrKeyMismatch)
	}
	h.set(wordOtherKey, 0)
	wantKind(t, signOnce(b, t), backends.ErrKeyMismatch)
	if h.calls(callSign) != signed {
		t.Error("a signature was made with the other key")
	}
	// A key under another id is not concerned, and a new backend begins anew.
	if _, err := b.Sign(t.Context(), "id=%2A", backends.Digest{}); err != nil {
		t.Errorf("another id: %v", err)
	}
	mustSign(t, openQuick(t, h.uri()))
}

func TestLyingSignatureIsRefused(t *testing.T) {
	for _, length := range []uint32{1, 63, 65, 72} {
		h := newFaultHSM(t)
		h.set(wordSignatureLen, length)
		b := openQuick(t, h.uri())
		wantKind(t, signOnce(b, t), backends.ErrSignatureInvalid)
		h.set(wordSignatureLen, 0)
		mustSign(t, b)
	}
}

func TestSharedModuleIsInitialisedOnceAndHealsForAll(t *testing.T) {
	h := newFaultHSM(t)
	one, two := openQuick(t, h.uri()), openQuick(t, h.uri())
	mustSign(t, one)
	mustSign(t, two)
	if got := h.calls(callInitialize); got != 1 {
		t.Fatalf("%d initialisations for two backends, want 1", got)
	}
	h.set(wordDead, 1)
	mustSign(t, one)
	mustSign(t, two)
	if got := h.calls(callInitialize); got != 2 {
		t.Errorf("%d initialisations, want 2", got)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.calls(callFinalize); got != 1 {
		t.Errorf("finalised %d times, want only for the device error: the other still needs it", got)
	}
	mustSign(t, two)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.calls(callFinalize); got != 2 {
		t.Errorf("finalised %d times, want 2", got)
	}
	if _, err := open(t.Context(), h.uri(), discard(), quick()); err != nil {
		t.Fatalf("open after the last Close: %v", err)
	}
}

// TestModuleIsNotFinalisedUnderAnother loses the token for one backend only:
// here, because it asks for a token that is not there.
func TestModuleIsNotFinalisedUnderAnother(t *testing.T) {
	h := newFaultHSM(t)
	well := openQuick(t, h.uri())
	mustSign(t, well)
	ill := openQuick(t, h.uri("max-sessions=1")[:len("pkcs11:token=")]+"absent"+h.uri()[len("pkcs11:token=fault"):])
	for range 50 {
		wantKind(t, signOnce(ill, t), backends.ErrUnavailable)
		mustSign(t, well)
		time.Sleep(2 * time.Millisecond) // lets the other backend's attempts come
	}
	if h.calls(callInitialize) != 1 || h.calls(callFinalize) != 0 {
		t.Errorf("%d initialisations, %d finalisations under a healthy backend", h.calls(callInitialize), h.calls(callFinalize))
	}
}

func TestKeepAliveMendsAnIdleBackend(t *testing.T) {
	h := newFaultHSM(t)
	p := quick()
	p.keepalive = 5 * time.Millisecond
	b := openPaced(t, h.uri(), p)
	mustSign(t, b)
	h.set(wordDead, 1)
	eventually(t, 5*time.Second, func() error {
		if h.get(wordDead) != 0 || h.calls(callOpenSession) < 3 {
			return errLost
		}
		return nil
	})
	eventually(t, time.Second, func() error {
		if b.link.current.Load() == nil {
			return errLost
		}
		return nil
	})
}
