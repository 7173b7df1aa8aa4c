package backendtest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

const (
	callers = 64              // concurrent callers of the concurrency case
	soon    = 2 * time.Second // how long after its context's end a call may return
	patient = 60 * time.Second
)

// Run runs every case of the contract as a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	r := &runner{Harness: h}
	t.Run("describe and sign agree", r.describeAndSignAgree)
	t.Run("two keys do not mix", r.twoKeysDoNotMix)
	t.Run("many signatures, short r and s among them", r.manySignatures)
	t.Run("an unknown key is not found", r.unknownKey)
	t.Run("a malformed id is refused", r.malformedID)
	t.Run("a disabled key says so", r.optional(Disabled, h.Disabled != "", r.disabledKey))
	t.Run("a wrong curve is unsuitable", r.optional(WrongCurve, h.WrongCurve != "", r.wrongCurve))
	t.Run("concurrent callers", r.concurrentCallers)
	t.Run("a cancelled context returns in time", r.cancelledContext)
	t.Run("a context cancelled under way returns in time", r.cancelledUnderWay)
	t.Run("an expired context returns in time", r.expiredContext)
	t.Run("an outage, then recovery without reopening", r.optional(Outage, h.Outage != nil, r.outage))
	t.Run("Close drains, refuses and is idempotent", r.closing)
}

type runner struct{ Harness }

// optional runs a case, or demands the declaration of why it cannot be run.
func (r *runner) optional(c Case, possible bool, run func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		reason, declared := r.Deviations[c]
		switch {
		case possible && declared:
			t.Fatalf("case %q is possible and declared as a deviation (%s)", c, reason)
		case possible:
			run(t)
		case !declared || reason == "":
			t.Fatalf("case %q is neither possible nor declared as a deviation", c)
		default:
			t.Logf("deviation: %s", reason)
		}
	}
}

func (r *runner) open(t *testing.T) backends.KeyBackend {
	t.Helper()
	b := r.Open(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// digest returns the n-th digest of the test.
func digest(n int) backends.Digest {
	var seed [8]byte
	binary.BigEndian.PutUint64(seed[:], uint64(n))
	return sha256.Sum256(seed[:])
}

// wantKind fails unless err is an *Error of the Kind that names the operation
// and holds no secret.
func (r *runner) wantKind(t *testing.T, err error, op string, kinds ...error) {
	t.Helper()
	var backendErr *backends.Error
	if !errors.As(err, &backendErr) {
		t.Fatalf("error %v (%T) is no *backends.Error", err, err)
	}
	if backendErr.Op != op {
		t.Errorf("error's Op = %q, want %q", backendErr.Op, op)
	}
	r.noSecret(t, err)
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("error %v is of none of the kinds %v", err, kinds)
}

func (r *runner) noSecret(t *testing.T, err error) {
	t.Helper()
	for _, secret := range r.Secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("an error holds a secret")
		}
	}
}

func (r *runner) describeAndSignAgree(t *testing.T) {
	b := r.open(t)
	seen := map[string]bool{}
	for i, key := range r.Keys {
		// Sign first: it needs no earlier Describe.
		sig, err := b.Sign(t.Context(), key.ID, digest(i))
		if err != nil {
			t.Fatalf("Sign: %v", err)
		}
		info, err := b.Describe(t.Context(), key.ID)
		if err != nil {
			t.Fatalf("Describe: %v", err)
		}
		if info.PublicKey == nil || !info.PublicKey.Equal(key.Public) {
			t.Fatalf("Describe's public key is not the key's")
		}
		if info.CanonicalID == "" || seen[info.CanonicalID] {
			t.Errorf("canonical id %q is empty or another key's", info.CanonicalID)
		}
		seen[info.CanonicalID] = true
		if !sig.Verify(info.PublicKey, digest(i)) {
			t.Errorf("the signature does not verify with the public key of Describe")
		}
		again, err := b.Describe(t.Context(), key.ID)
		if err != nil || again.CanonicalID != info.CanonicalID || !again.PublicKey.Equal(info.PublicKey) {
			t.Errorf("a second Describe says %v, %v; the first %v", again, err, info)
		}
	}
}

func (r *runner) twoKeysDoNotMix(t *testing.T) {
	b := r.open(t)
	for i := range 20 {
		mine, other := r.Keys[i%2], r.Keys[(i+1)%2]
		sig, err := b.Sign(t.Context(), mine.ID, digest(i))
		if err != nil {
			t.Fatalf("Sign: %v", err)
		}
		if !sig.Verify(mine.Public, digest(i)) {
			t.Fatalf("signature %d does not verify with its key", i)
		}
		if sig.Verify(other.Public, digest(i)) {
			t.Fatalf("signature %d verifies with the other key", i)
		}
	}
}

func (r *runner) manySignatures(t *testing.T) {
	b := r.open(t)
	n := r.Signatures
	if n == 0 {
		n = 2000
	}
	key := r.Keys[0]
	var mu sync.Mutex
	short, nonces := 0, map[[32]byte]bool{}
	fanOut(t, 16, n, func(i int) error {
		sig, err := b.Sign(t.Context(), key.ID, digest(i))
		if err != nil {
			return err
		}
		if !sig.Verify(key.Public, digest(i)) {
			return errors.New("a signature does not verify")
		}
		mu.Lock()
		defer mu.Unlock()
		if sig[0] == 0 || sig[32] == 0 {
			short++
		}
		nonce := [32]byte(sig[:32])
		if nonces[nonce] {
			return errors.New("r is repeated: the nonce was used twice")
		}
		nonces[nonce] = true
		return nil
	})
	// One in 128 has a short r or s: 2,000 without one has a probability of 2e-7.
	if n >= 2000 && short == 0 {
		t.Errorf("%d signatures and no r or s with a leading zero byte", n)
	}
}

func (r *runner) unknownKey(t *testing.T) {
	b := r.open(t)
	_, err := b.Describe(t.Context(), r.Unknown)
	r.wantKind(t, err, "describe", backends.ErrKeyNotFound)
	_, err = b.Sign(t.Context(), r.Unknown, digest(0))
	r.wantKind(t, err, "sign", backends.ErrKeyNotFound)
}

func (r *runner) malformedID(t *testing.T) {
	b := r.open(t)
	for _, id := range append([]string{""}, r.Malformed...) {
		_, err := b.Describe(t.Context(), id)
		r.wantKind(t, err, "describe", backends.ErrKeyNotFound, backends.ErrKeyUnsuitable, backends.ErrAccessDenied)
		_, err = b.Sign(t.Context(), id, digest(0))
		r.wantKind(t, err, "sign", backends.ErrKeyNotFound, backends.ErrKeyUnsuitable, backends.ErrAccessDenied)
	}
}

func (r *runner) disabledKey(t *testing.T) {
	b := r.open(t)
	_, err := b.Sign(t.Context(), r.Disabled, digest(0))
	r.wantKind(t, err, "sign", backends.ErrKeyDisabled)
}

func (r *runner) wrongCurve(t *testing.T) {
	b := r.open(t)
	_, err := b.Describe(t.Context(), r.WrongCurve)
	r.wantKind(t, err, "describe", backends.ErrKeyUnsuitable)
	_, err = b.Sign(t.Context(), r.WrongCurve, digest(0))
	r.wantKind(t, err, "sign", backends.ErrKeyUnsuitable)
}

func (r *runner) concurrentCallers(t *testing.T) {
	b := r.open(t)
	fanOut(t, callers, callers*4, func(i int) error {
		key := r.Keys[i%2]
		if i%8 == 0 {
			_, err := b.Describe(t.Context(), key.ID)
			return err
		}
		sig, err := b.Sign(t.Context(), key.ID, digest(i))
		if err != nil {
			return err
		}
		if !sig.Verify(key.Public, digest(i)) {
			return errors.New("a signature does not verify")
		}
		return nil
	})
}

func (r *runner) cancelledContext(t *testing.T) {
	b := r.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.wantContextError(t, ctx, b, context.Canceled)
	r.wantUsable(t, b)
}

func (r *runner) cancelledUnderWay(t *testing.T) {
	b := r.open(t)
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := b.Sign(ctx, r.Keys[0].ID, digest(0))
			done <- err
		}()
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("a cancelled Sign says %v", err)
			}
		case <-time.After(soon):
			t.Fatal("a cancelled Sign did not return in time")
		}
	}
	r.wantUsable(t, b)
}

func (r *runner) expiredContext(t *testing.T) {
	b := r.open(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	r.wantContextError(t, ctx, b, context.DeadlineExceeded)
	r.wantUsable(t, b)
}

func (r *runner) wantContextError(t *testing.T, ctx context.Context, b backends.KeyBackend, want error) {
	t.Helper()
	start := time.Now()
	if _, err := b.Sign(ctx, r.Keys[0].ID, digest(0)); !errors.Is(err, want) {
		t.Errorf("Sign = %v, want %v", err, want)
	}
	if _, err := b.Describe(ctx, r.Keys[0].ID); !errors.Is(err, want) {
		t.Errorf("Describe = %v, want %v", err, want)
	}
	if took := time.Since(start); took > soon {
		t.Errorf("two calls took %v after the context's end", took)
	}
}

func (r *runner) wantUsable(t *testing.T, b backends.KeyBackend) {
	t.Helper()
	sig, err := b.Sign(t.Context(), r.Keys[0].ID, digest(1))
	if err != nil {
		t.Fatalf("the next valid Sign: %v", err)
	}
	if !sig.Verify(r.Keys[0].Public, digest(1)) {
		t.Fatal("the next signature does not verify")
	}
}

func (r *runner) outage(t *testing.T) {
	b := r.open(t)
	r.wantUsable(t, b)
	restore := r.Outage(t)
	restored := false
	defer func() {
		if !restored {
			restore()
		}
	}()

	fanOut(t, 8, 16, func(i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := b.Sign(ctx, r.Keys[0].ID, digest(i))
		if took := time.Since(start); took > 5*time.Second+soon {
			return errors.New("a Sign during the outage outlived its deadline by far")
		}
		if err == nil {
			return errors.New("a Sign during the outage succeeded")
		}
		r.noSecret(t, err)
		if !errors.Is(err, backends.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	})

	restore()
	restored = true
	deadline := time.Now().Add(patient)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		sig, err := b.Sign(ctx, r.Keys[0].ID, digest(2))
		cancel()
		if err == nil {
			if !sig.Verify(r.Keys[0].Public, digest(2)) {
				t.Fatal("the first signature after the outage does not verify")
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no recovery within %v: %v", patient, err)
		}
		time.Sleep(50 * time.Millisecond) // the store's own recovery is what is waited for
	}
	r.wantUsable(t, b)
}

func (r *runner) closing(t *testing.T) {
	b := r.Open(t)
	if _, err := b.Describe(t.Context(), r.Keys[0].ID); err != nil {
		t.Fatalf("Describe: %v", err)
	}
	var wg sync.WaitGroup
	results := make(chan error, 32)
	for i := range 32 {
		wg.Go(func() {
			sig, err := b.Sign(t.Context(), r.Keys[0].ID, digest(i))
			if err == nil && !sig.Verify(r.Keys[0].Public, digest(i)) {
				err = errors.New("a signature made while closing does not verify")
			}
			results <- err
		})
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	close(results)
	for err := range results {
		if err != nil && !errors.Is(err, backends.ErrClosed) {
			t.Errorf("a Sign around Close says %v, want success or ErrClosed", err)
		}
	}
	_, err := b.Sign(t.Context(), r.Keys[0].ID, digest(0))
	r.wantKind(t, err, "sign", backends.ErrClosed)
	_, err = b.Describe(t.Context(), r.Keys[0].ID)
	r.wantKind(t, err, "describe", backends.ErrClosed)
	if err := b.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// fanOut calls f for 0 to n-1 from so many goroutines and reports the first
// error.
func fanOut(t *testing.T, goroutines, n int, f func(i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for range goroutines {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if first != nil {
		t.Fatal(first)
	}
}
