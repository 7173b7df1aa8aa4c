package filekey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

// BenchmarkSign is a whole call; compare it with BenchmarkSignASN1Raw.
func BenchmarkSign(b *testing.B) {
	dir := b.TempDir()
	write(b, dir, "key.p8", pkcs8(b, newKeyOn(b, elliptic.P256())))
	store := open(b, dir)
	if _, err := store.Describe(b.Context(), "key.p8"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := store.Sign(b.Context(), "key.p8", backends.Digest{1}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignParallel shows what callers cost each other.
func BenchmarkSignParallel(b *testing.B) {
	dir := b.TempDir()
	write(b, dir, "key.p8", pkcs8(b, newKeyOn(b, elliptic.P256())))
	store := open(b, dir)
	if _, err := store.Describe(b.Context(), "key.p8"); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := store.Sign(b.Context(), "key.p8", backends.Digest{1}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSignASN1Raw is the standard library's usual call and nothing else.
func BenchmarkSignASN1Raw(b *testing.B) {
	key, digest := newKeyOn(b, elliptic.P256()), backends.Digest{1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNonce compares where the nonce comes from, without our part.
func BenchmarkNonce(b *testing.B) {
	key, digest := newKeyOn(b, elliptic.P256()), backends.Digest{1}
	b.Run("derived", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := key.Sign(nil, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("drawn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
}
