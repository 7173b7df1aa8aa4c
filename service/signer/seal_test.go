package signer_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/signer"
)

// lined is a signer of a key in this process with one turn, which a call has until
// leave is called.
type lined struct {
	*signer.Signer
	fake    *backendtest.Fake
	records *counted
	leave   func()
}

func newLined(t *testing.T) *lined {
	t.Helper()
	l := &lined{fake: backendtest.NewFake(t, "id"), records: &counted{}}
	l.fake.InProcess = true
	cfg := config(l.fake)
	cfg.Stores["s"] = signer.Store{Backend: l.fake, MaxInFlight: 1, MaxQueue: 4096}
	cfg.Record = l.records
	l.Signer = loaded(t, cfg)
	held := make(chan struct{})
	l.fake.Fail(func(context.Context, string, string) error { <-held; return nil })
	first := make(chan error, 1)
	go func() {
		_, err := l.Sign(t.Context(), approved(t))
		first <- err
	}()
	synctest.Wait()
	l.leave = func() {
		close(held)
		if err := <-first; err != nil {
			t.Error(err)
		}
	}
	return l
}

func (l *lined) end(t *testing.T) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// sealed are tokens that wait for their turns.
func (l *lined) sealed(ctx context.Context, t *testing.T, n int) []signer.Sealed {
	t.Helper()
	all := make([]signer.Sealed, n)
	for i := range all {
		var err error
		if all[i], err = l.Seal(ctx, approved(t)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestSealedStandInLineTogetherAndAreOpenedInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLined(t)
		defer l.end(t)
		all := l.sealed(t.Context(), t, 6)
		if l.records.begun != 7 || l.records.ended != 0 {
			t.Errorf("%d records begun and %d ended before a turn was free", l.records.begun, l.records.ended)
		}
		l.leave()
		seen := map[string]bool{}
		for i := range slices.Backward(all) {
			if i%2 == 0 { // which Open would do too
				if err := all[i].Signed(t.Context()); err != nil {
					t.Error(err)
				}
			}
			signed, err := all[i].Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := jose.ParseSignedCompact(signed.Token.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parsed.Verify(l.fake.Public("id")); err != nil {
				t.Error(err)
			}
			seen[signed.Token.Reveal()] = true
		}
		if len(seen) != 6 || l.records.begun != 7 || l.records.ended != 7 || l.records.failed != 0 {
			t.Errorf("%d tokens, %+v", len(seen), l.records)
		}
	})
}

func TestSealedWhoseCallerGoesLeavesTheLineWithARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLined(t)
		defer l.end(t)
		ctx, cancel := context.WithCancel(t.Context())
		all := l.sealed(ctx, t, 3)
		cancel()
		for i := range all {
			if _, err := all[i].Open(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if l.records.ended != 3 || l.records.failed != 3 {
			t.Errorf("%+v", l.records)
		}
		// One who goes before he stands in line, too.
		gone, err := l.Seal(ctx, approved(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gone.Open(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		before := l.fake.Signed()
		l.leave()
		synctest.Wait()
		if made := l.fake.Signed() - before; made != 1 || l.records.failed != 4 || l.records.ended != 5 {
			t.Errorf("%d signatures, %+v", made, l.records)
		}
		for _, s := range l.Stores() {
			if s.InFlight != 0 || s.Waiting != 0 {
				t.Errorf("%d in flight, %d waiting", s.InFlight, s.Waiting)
			}
		}
	})
}

func TestSealedThatCannotBeSignedSaysSoWhenItIsOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLined(t)
		defer l.end(t)
		all := l.sealed(t.Context(), t, 2)
		l.leave()
		synctest.Wait() // they are signed
		l.fake.Fail(func(context.Context, string, string) error { return backends.ErrUnavailable })
		late, err := l.Seal(t.Context(), approved(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := late.Open(t.Context()); !errors.Is(err, backends.ErrUnavailable) {
			t.Error(err)
		}
		for i := range all {
			if _, err := all[i].Open(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if l.records.ended != 4 || l.records.failed != 1 {
			t.Errorf("%+v", l.records)
		}
	})
}

// What was signed wrongly in its turn does not leave, nor what was signed after it.
func TestSealedIsVerifiedBeforeItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLined(t)
		defer l.end(t)
		all := l.sealed(t.Context(), t, 2*1024)
		l.fake.Lie(func(sig backends.Signature) backends.Signature { sig[40] ^= 1; return sig })
		l.leave()
		first := -1
		for i := range all {
			_, err := all[i].Open(t.Context())
			switch {
			case errors.Is(err, backends.ErrSignatureInvalid):
				if first < 0 {
					first = i
				}
			case err != nil:
				t.Fatal(err)
			case first >= 0:
				t.Fatalf("token %d left, after one was found to be signed wrongly", i)
			}
		}
		if first < 0 || !l.Latched("k") || l.records.failed != len(all)-first {
			t.Errorf("the first of %d is %d; %d are recorded", len(all), first, l.records.failed)
		}
	})
}
