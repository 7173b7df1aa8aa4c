package filekey

import (
	"context"
	"crypto"
	"crypto/ecdsa"

	"github.com/jotsmith/jotsmith/backends"
)

// Sign signs with the key that the last Describe of id read, and reads the
// file itself when there was none.
//
// Two calls for the same digest give the same signature: the nonce is derived
// from key and digest (RFC 6979) and not drawn, so that a broken random source
// cannot give the key away. A build with BoringCrypto draws it (nonce_boring.go).
func (b *Backend) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	if !b.calls.enter() {
		return backends.Signature{}, &backends.Error{Op: "sign", KeyID: id, Kind: backends.ErrClosed}
	}
	defer b.calls.leave()
	if err := ctx.Err(); err != nil {
		return backends.Signature{}, err
	}
	key := (*b.keys.Load())[id]
	if key == nil {
		var err error
		if key, err = b.load(ctx, "sign", id); err != nil {
			return backends.Signature{}, err
		}
		// A Describe that answered meanwhile has the last word.
		key = b.install(id, key, false)
	}
	sig, err := sign(key, digest)
	if err != nil {
		return backends.Signature{}, &backends.Error{Op: "sign", KeyID: id, Kind: backends.ErrSignatureInvalid, Err: err}
	}
	return sig, nil
}

// sign asks crypto/ecdsa for a signature; a nil random source makes it a
// deterministic one. BenchmarkNonce compares it with a drawn nonce: SignASN1 takes
// about a sixth longer and allocates half as much again, for the random bits
// and the DRBG that it seeds with them.
//
// The fault attacks that a repeatable nonce makes easier are answered above:
// signer verifies a sample of these signatures, or all, before they leave.
func sign(key *ecdsa.PrivateKey, digest backends.Digest) (backends.Signature, error) {
	der, err := key.Sign(nonceSource(), digest[:], crypto.SHA256)
	if err != nil {
		return backends.Signature{}, err
	}
	return backends.SignatureFromDER(der)
}
