package backendtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"sync"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

// Fake is a KeyBackend in memory, for the faults that no real store gives on
// demand. It passes the contract itself. All methods are safe for concurrent
// use.
type Fake struct {
	// InProcess is what Describe says of every key.
	InProcess bool

	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey
	fault  func(ctx context.Context, op, id string) error
	lie    func(backends.Signature) backends.Signature
	signed int
	closed bool
	calls  sync.WaitGroup
}

// NewFake returns a Fake with a new key for each id.
func NewFake(t testing.TB, ids ...string) *Fake {
	t.Helper()
	f := &Fake{keys: map[string]*ecdsa.PrivateKey{}}
	for _, id := range ids {
		f.Replace(t, id)
	}
	return f
}

// Replace puts a new key under id and returns its public half.
func (f *Fake) Replace(t testing.TB, id string) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[id] = key
	return &key.PublicKey
}

// Public returns the public half of a key.
func (f *Fake) Public(id string) *ecdsa.PublicKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &f.keys[id].PublicKey
}

// Fail has every later call ask fault first, which may also wait for ctx; nil
// ends it. op is "describe" or "sign".
func (f *Fake) Fail(fault func(ctx context.Context, op, id string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// FailWith has every later Sign fail with an Error of this Kind; nil ends it.
func (f *Fake) FailWith(kind error) {
	if kind == nil {
		f.Fail(nil)
		return
	}
	f.Fail(func(_ context.Context, op, id string) error {
		if op != "sign" {
			return nil
		}
		return &backends.Error{Op: op, KeyID: id, Kind: kind, Err: errors.New("secret backend text")}
	})
}

// Lie has every later signature pass through lie; nil ends it.
func (f *Fake) Lie(lie func(backends.Signature) backends.Signature) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lie = lie
}

// Signed returns how many signatures were made.
func (f *Fake) Signed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signed
}

// enter begins a call and finds its key.
func (f *Fake) enter(ctx context.Context, op, id string) (*ecdsa.PrivateKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, &backends.Error{Op: op, KeyID: id, Kind: backends.ErrClosed}
	}
	f.calls.Add(1)
	key, fault := f.keys[id], f.fault
	f.mu.Unlock()
	if fault != nil {
		if err := fault(ctx, op, id); err != nil {
			f.calls.Done()
			return nil, err
		}
	}
	if key == nil {
		f.calls.Done()
		return nil, &backends.Error{Op: op, KeyID: id, Kind: backends.ErrKeyNotFound}
	}
	return key, nil
}

// Describe answers the key's public half.
func (f *Fake) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	key, err := f.enter(ctx, "describe", id)
	if err != nil {
		return backends.KeyInfo{}, err
	}
	defer f.calls.Done()
	return backends.KeyInfo{PublicKey: &key.PublicKey, CanonicalID: "fake:" + id, InProcess: f.InProcess}, nil
}

// Sign signs, and lies if it was told to.
func (f *Fake) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	key, err := f.enter(ctx, "sign", id)
	if err != nil {
		return backends.Signature{}, err
	}
	defer f.calls.Done()
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return backends.Signature{}, &backends.Error{Op: "sign", KeyID: id, Kind: backends.ErrUnavailable, Err: err}
	}
	signature, err := backends.SignatureFromDER(der)
	if err != nil {
		return backends.Signature{}, &backends.Error{Op: "sign", KeyID: id, Kind: backends.ErrSignatureInvalid, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signed++
	if f.lie != nil {
		signature = f.lie(signature)
	}
	return signature, nil
}

// Close waits for the calls under way.
func (f *Fake) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.calls.Wait()
	return nil
}
