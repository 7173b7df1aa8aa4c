package backends

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Digest is a SHA-256 digest of a JWS signing input (RFC 7515 section 5.1).
type Digest [32]byte

// Signature is an ECDSA P-256 signature in the form of JWS: r then s, each 32
// bytes, big-endian, left-padded with zeros (RFC 7518 section 3.4).
type Signature [64]byte

// ErrMalformedSignature says that bytes are not a P-256 signature in the
// encoding asked for. A backend wraps it into an *[Error] of the Kind
// [ErrSignatureInvalid].
var ErrMalformedSignature = errors.New("malformed P-256 signature")

// SignatureFromRaw takes the r||s form that PKCS#11's CKM_ECDSA answers
// (PKCS#11 v3.1 section 6.3.1). It refuses any length but 64 and an r or s
// outside 1 to n-1.
func SignatureFromRaw(raw []byte) (Signature, error) {
	var sig Signature
	if len(raw) != len(sig) {
		return Signature{}, ErrMalformedSignature
	}
	copy(sig[:], raw)
	if !inRange(sig[:32]) || !inRange(sig[32:]) {
		return Signature{}, ErrMalformedSignature
	}
	return sig, nil
}

// SignatureFromDER takes the ECDSA-Sig-Value of RFC 3279 section 2.2.3, as AWS
// KMS and crypto/ecdsa answer it. It is strict: no trailing bytes, minimal
// positive integers, r and s within 1 to n-1.
func SignatureFromDER(der []byte) (Signature, error) {
	var sig Signature
	var inner cryptobyte.String
	var r, s []byte
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() {
		return Signature{}, ErrMalformedSignature
	}
	if len(r) > 32 || len(s) > 32 {
		return Signature{}, ErrMalformedSignature
	}
	copy(sig[32-len(r):32], r)
	copy(sig[64-len(s):], s)
	if !inRange(sig[:32]) || !inRange(sig[32:]) {
		return Signature{}, ErrMalformedSignature
	}
	return sig, nil
}

// DER returns the ECDSA-Sig-Value form, as crypto/ecdsa and X.509 use it.
func (s Signature) DER() []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(s[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(s[32:]))
	})
	return b.BytesOrPanic()
}

// Verify says whether s is pub's signature over digest.
func (s Signature) Verify(pub *ecdsa.PublicKey, digest Digest) bool {
	return ecdsa.VerifyASN1(pub, digest[:], s.DER())
}

// order is the order n of P-256's base point, big-endian (SEC 2 section 2.4.2).
const order = "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"

// inRange says whether the 32 bytes of v are a number within 1 to n-1.
func inRange(v []byte) bool {
	return !bytes.Equal(v, make([]byte, len(order))) && bytes.Compare(v, []byte(order)) < 0
}
