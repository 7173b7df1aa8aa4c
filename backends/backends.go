// Package backends defines KeyBackend, the one interface that a store of
// private keys implements, with the values that pass through it: a digest goes
// in, a signature comes out, and every failure is an [Error] of a known Kind.
//
// What all stores share (the cache of public keys, verification after signing,
// limits, metrics, the closed state) lives in service/signer, so that a
// backend holds nothing but its store's protocol. How to write one:
// docs/backends/README.md. The contract as a test: package backendtest.
package backends

import (
	"context"
	"crypto/ecdsa"
)

// A KeyBackend signs with ECDSA P-256 private keys that never leave it. One
// value is one connection to one key store and serves many keys.
//
// All methods are safe for concurrent use. Every call returns soon after its
// context ends, even while the store hangs; the error then is, or wraps,
// context.Cause or ctx.Err. A backend may retry inside the context's deadline;
// its callers do not retry. Every error that is not the context's own is an
// *[Error] whose Kind is one of the package's Err values.
//
// A store that was lost and came back is used again without a new Open.
type KeyBackend interface {
	// Describe returns the public half and the canonical identity of the key
	// that the store knows by id, fresh from the store. It fails with
	// [ErrKeyUnsuitable] unless the key is an ECDSA P-256 key that may sign.
	Describe(ctx context.Context, id string) (KeyInfo, error)

	// Sign signs a SHA-256 digest with the key that the store knows by id.
	// The key is the one that a Describe of the same id last answered; a store
	// in which a name can be re-pointed resolves it once, in Describe.
	// Sign without an earlier Describe does that step itself.
	Sign(ctx context.Context, id string, digest Digest) (Signature, error)

	// Close refuses new calls with [ErrClosed], waits for the calls under way
	// and frees what the backend holds. It is idempotent and never blocks on a
	// store that hangs for longer than a few seconds.
	Close() error
}

// KeyInfo is what a store says of one of its keys.
type KeyInfo struct {
	// PublicKey is a point on P-256, never nil.
	PublicKey *ecdsa.PublicKey

	// CanonicalID is the store's own lasting name for the key, the same however
	// the key was asked for: an absolute path, a key ARN, a PKCS#11 URI with
	// the token's serial number and CKA_ID. It holds no secret; it is shown to
	// operators and never to callers.
	CanonicalID string

	// InProcess says that the private key lies in this process's memory and the
	// signature is made by this program. A signature from anywhere else is
	// verified before it is used.
	InProcess bool
}
