package signer_test

import (
	"context"
	"sync/atomic"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// replica is one more store with the keys of a Fake, and with faults of its own.
type replica struct {
	*backendtest.Fake
	fault  atomic.Pointer[func(ctx context.Context, op, id string) error]
	lie    atomic.Pointer[func(backends.Signature) backends.Signature]
	calls  atomic.Int64
	signed atomic.Int64
}

// fail has every later call ask fault first; nil ends it.
func (r *replica) fail(fault func(ctx context.Context, op, id string) error) {
	if fault == nil {
		r.fault.Store(nil)
		return
	}
	r.fault.Store(&fault)
}

// failWith has every later call fail with an Error of this Kind.
func (r *replica) failWith(kind error) {
	r.fail(func(_ context.Context, op, id string) error {
		return &backends.Error{Op: op, KeyID: id, Kind: kind}
	})
}

func (r *replica) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	r.calls.Add(1)
	if fault := r.fault.Load(); fault != nil {
		if err := (*fault)(ctx, "describe", id); err != nil {
			return backends.KeyInfo{}, err
		}
	}
	return r.Fake.Describe(ctx, id)
}

func (r *replica) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	r.calls.Add(1)
	if fault := r.fault.Load(); fault != nil {
		if err := (*fault)(ctx, "sign", id); err != nil {
			return backends.Signature{}, err
		}
	}
	signature, err := r.Fake.Sign(ctx, id, digest)
	if err != nil {
		return signature, err
	}
	r.signed.Add(1)
	if lie := r.lie.Load(); lie != nil {
		signature = (*lie)(signature)
	}
	return signature, nil
}
