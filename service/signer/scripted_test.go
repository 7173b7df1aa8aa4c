package signer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

// scriptedBackend is a store whose signatures are made by a function.
type scriptedBackend struct {
	public *ecdsa.PublicKey
	sign   func(backends.Digest) backends.Signature
}

func (b *scriptedBackend) Describe(context.Context, string) (backends.KeyInfo, error) {
	return backends.KeyInfo{PublicKey: b.public, CanonicalID: "scripted"}, nil
}

func (b *scriptedBackend) Sign(_ context.Context, _ string, digest backends.Digest) (backends.Signature, error) {
	return b.sign(digest), nil
}

func (b *scriptedBackend) Close() error { return nil }

// nonceRepeater returns a key and a signer whose nonce is always 1, so that r
// is the x coordinate of the base point and s = digest + r*d (mod n). Such
// signatures verify; two of them give d away.
func nonceRepeater(t *testing.T) (*ecdsa.PublicKey, func(backends.Digest) backends.Signature) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	params := elliptic.P256().Params()
	return &key.PublicKey, func(digest backends.Digest) backends.Signature {
		s := new(big.Int).Mul(params.Gx, new(big.Int).SetBytes(secret))
		s.Add(s, new(big.Int).SetBytes(digest[:]))
		s.Mod(s, params.N)
		var signature backends.Signature
		params.Gx.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature
	}
}
