//go:build cgo && unix

package pkcs11

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/jotsmith/jotsmith/backends"
)

// p256Point is the length of an uncompressed point on P-256.
const p256Point = 65

// checkCurve reads CKA_EC_PARAMS, either a curve's OID or its name as a
// PrintableString (PKCS#11 v3.1 section 6.3.3). None at all is let pass: the
// public key then says which curve it is.
func checkCurve(params []byte) error {
	if len(params) == 0 || string(params) == oidP256 {
		return nil
	}
	var name cryptobyte.String
	rest := cryptobyte.String(params)
	if rest.ReadASN1(&name, asn1.PrintableString) && rest.Empty() {
		switch string(name) {
		case "prime256v1", "secp256r1", "P-256":
			return nil
		}
	}
	return fail(backends.ErrKeyUnsuitable, "its curve is not P-256 (CKA_EC_PARAMS %x): make a key on prime256v1", params)
}

// publicFromPoint reads CKA_EC_POINT: the point in a DER OCTET STRING, as the
// standard has it, or bare, as some modules have it.
func publicFromPoint(value []byte, err error) (*ecdsa.PublicKey, error) {
	if err != nil {
		return nil, err
	}
	point := value
	if len(value) != p256Point {
		var inner cryptobyte.String
		rest := cryptobyte.String(value)
		if !rest.ReadASN1(&inner, asn1.OCTET_STRING) || !rest.Empty() {
			return nil, fail(backends.ErrKeyUnsuitable, "its CKA_EC_POINT of %d bytes is no point on P-256", len(value))
		}
		point = inner
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fail(backends.ErrKeyUnsuitable, "its CKA_EC_POINT of %d bytes is no point on P-256: %w", len(value), err)
	}
	return public, nil
}

// publicFromInfo reads CKA_PUBLIC_KEY_INFO, a SubjectPublicKeyInfo.
func publicFromInfo(der []byte, err error) (*ecdsa.PublicKey, error) {
	if err != nil {
		return nil, err
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fail(backends.ErrKeyUnsuitable, "its CKA_PUBLIC_KEY_INFO: %w", err)
	}
	return p256(public)
}

func p256(public any) (*ecdsa.PublicKey, error) {
	if key, ok := public.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
		return key, nil
	}
	return nil, fail(backends.ErrKeyUnsuitable, "its public key is not an ECDSA key on P-256")
}
