//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

func TestHungModuleHoldsNobodyAndHeals(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri("max-sessions=4"))
	mustSign(t, b)
	h.set(wordHangCall, callSign)
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := b.Sign(ctx, "object=key", backends.Digest{})
			if took := time.Since(start); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sign in a hung module = %v after %v", err, took)
			}
		})
	}
	wg.Wait()
	// All sessions hang, so the next calls do not even wait for their deadline.
	eventually(t, 2*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := b.Sign(ctx, "object=key", backends.Digest{})
		if !isUnavailable(err) {
			return errors.Join(errors.New("still waiting for a session"), err)
		}
		return nil
	})
	start := time.Now()
	for range 1000 {
		if err := signOnce(b, t); !isUnavailable(err) {
			t.Fatalf("Sign with all sessions hung = %v", err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("1000 calls with all sessions hung took %v", took)
	}
	if grown := runtime.NumGoroutine() - before; grown > 8 {
		t.Errorf("%d more goroutines than before", grown)
	}
	h.set(wordHangCall, 0)
	eventually(t, 5*time.Second, func() error { return signOnce(b, t) })
	if got := h.calls(callOpenSession); got > 5 {
		t.Errorf("%d sessions opened, want at most 4 and the anchor", got)
	}
}

func TestHungCallsReturnWithTheirContext(t *testing.T) {
	for name, call := range map[string]int{
		"C_Initialize": callInitialize, "C_OpenSession": callOpenSession, "C_Login": callLogin, "C_FindObjectsInit": callFindInit,
		"C_GetSlotList": callGetSlotList, "C_SignInit": callSignInit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newFaultHSM(t)
			h.set(wordHangCall, uint32(call))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			b, err := open(ctx, h.uri(), discard(), quick())
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			_, err = b.Sign(ctx, "object=key", backends.Digest{})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sign = %v, want the context's error", err)
			}
			if err := b.Close(); err != nil { // returns although the module hangs
				t.Errorf("Close: %v", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("open, Sign and Close took %v", took)
			}
			if h.calls(callFinalize) != 0 {
				t.Error("finalised under a call")
			}
			h.set(wordHangCall, 0)
			<-b.(*backend).closed
		})
	}
}

func TestSerializeLetsOneCallIn(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordNoLocks, 1)
	h.set(wordSignMicros, 200)
	b := openQuick(t, h.uri("serialize=true"))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if err := signOnce(b, t); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := h.get(wordOverlaps); got != 0 {
		t.Errorf("%d calls overlapped", got)
	}
}

func TestSessionsStayWithinTheTokensLimit(t *testing.T) {
	for _, most := range []uint32{1, 2, 5} {
		h := newFaultHSM(t)
		h.set(wordMaxSessions, most)
		h.set(wordSignMicros, 500)
		b := openQuick(t, h.uri())
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if err := signOnce(b, t); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := h.calls(callOpenSession); got > int(most) {
			t.Errorf("%d sessions opened with a limit of %d", got, most)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestForeignSessionsLeaveFewer fills the token's sessions from elsewhere, so
// that its own limit does not tell how many there are to have.
func TestForeignSessionsLeaveFewer(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordMaxSessions, 6)
	other := openQuick(t, h.uri("max-sessions=3"))
	b := openQuick(t, h.uri())
	h.set(wordSignMicros, 500)
	for _, backend := range []*backend{other, b} {
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if err := signOnce(backend, t); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func TestNothingLeaks(t *testing.T) {
	h := newFaultHSM(t)
	open1 := func() {
		b := openQuick(t, h.uri())
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() { _ = signOnce(b, t) })
		}
		wg.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	open1() // what the process loads once
	goroutines, fds := runtime.NumGoroutine(), countFDs(t)
	for range 10 {
		open1()
	}
	eventually(t, 2*time.Second, func() error {
		if now := runtime.NumGoroutine(); now > goroutines {
			return errors.New("goroutines are left")
		}
		return nil
	})
	if now := countFDs(t); now > fds {
		t.Errorf("%d file descriptors, %d before", now, fds)
	}
	if opened, closed := h.calls(callOpenSession), h.calls(callCloseSession); opened != closed {
		t.Errorf("%d sessions opened, %d closed", opened, closed)
	}
	if i, f := h.calls(callInitialize), h.calls(callFinalize); i != f || i != 11 {
		t.Errorf("%d initialisations, %d finalisations, want 11 each", i, f)
	}
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestNoSessionLeftIsThrottled(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordMaxSessions, 1)
	other, b := openQuick(t, h.uri()), openQuick(t, h.uri())
	mustSign(t, other)
	err := signOnce(b, t)
	wantKind(t, err, backends.ErrThrottled)
	if e := new(backends.Error); !errors.As(err, &e) || e.RetryAfter <= 0 {
		t.Errorf("%v does not say when to come back", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	mustSign(t, b)
}
