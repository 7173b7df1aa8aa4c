package filekey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The standard library's x509 parsers are not used, because they pass over
// what is refused here: trailing bytes, and a public part that is another
// key's. The checks of scalar and curve are the standard library's.

const (
	oidECPublicKey = "1.2.840.10045.2.1"
	oidP256        = "1.2.840.10045.3.1.7"

	// Context-specific tags.
	tagParams     = cbasn1.Tag(0xa0)
	tagPublic     = cbasn1.Tag(0xa1)
	tagAttributes = cbasn1.Tag(0xa0)
	tagPublicV2   = cbasn1.Tag(0x81)
)

var (
	errDamaged = errors.New("the key's DER is damaged: " + copyAgain)
	errScalar  = errors.New("the private number is 0 or too large for P-256: the file is damaged or forged, make a new key")
	errPublic  = errors.New("the public part in the file is another key's: the file is damaged or forged, get the key again from where it was made")
)

// parsePKCS8 reads an OneAsymmetricKey (RFC 5958 section 2) of version 1 or 2.
func parsePKCS8(der []byte) (*ecdsa.PrivateKey, error) {
	input := cryptobyte.String(der)
	var outer, algorithmID, key, publicV2 cryptobyte.String
	var version int
	var hasPublic bool
	var oid asn1.ObjectIdentifier
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1Integer(&version) || version < 0 || version > 1 ||
		!outer.ReadASN1(&algorithmID, cbasn1.SEQUENCE) ||
		!algorithmID.ReadASN1ObjectIdentifier(&oid) ||
		!outer.ReadASN1(&key, cbasn1.OCTET_STRING) ||
		!outer.SkipOptionalASN1(tagAttributes) ||
		!outer.ReadOptionalASN1(&publicV2, &hasPublic, tagPublicV2) || !outer.Empty() {
		return nil, notPKCS8(der)
	}
	if oid.String() != oidECPublicKey {
		return nil, fmt.Errorf("the file holds %s: %s", algorithm(oid), nameP256)
	}
	if err := checkParams(algorithmID); err != nil {
		return nil, err
	}
	priv, err := parseSEC1(key, true)
	if err != nil {
		return nil, err
	}
	if hasPublic {
		// An implicitly tagged BIT STRING: its first byte counts unused bits.
		if len(publicV2) == 0 || publicV2[0] != 0 {
			return nil, errDamaged
		}
		if err := checkPublic(priv, publicV2[1:]); err != nil {
			return nil, err
		}
	}
	return priv, nil
}

// algorithm says what a key is instead of an EC key.
func algorithm(oid asn1.ObjectIdentifier) string {
	switch oid.String() {
	case "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10":
		return "an RSA key"
	case "1.2.840.10040.4.1":
		return "a DSA key"
	case "1.3.101.110", "1.3.101.111", "1.2.840.113549.1.3.1":
		return "a key for key agreement"
	case "1.3.101.112":
		return "an Ed25519 key"
	case "1.3.101.113":
		return "an Ed448 key"
	}
	return "a key of another algorithm"
}

// curve names a curve that is not P-256.
func curve(oid asn1.ObjectIdentifier) string {
	switch oid.String() {
	case "1.3.132.0.33":
		return "the curve P-224"
	case "1.3.132.0.34":
		return "the curve P-384"
	case "1.3.132.0.35":
		return "the curve P-521"
	case "1.3.132.0.10":
		return "the curve secp256k1"
	}
	return "another curve"
}

// parseSEC1 reads an ECPrivateKey (RFC 5915 section 3). The curve's name may be
// missing when it is known from around it.
func parseSEC1(der []byte, curveKnown bool) (*ecdsa.PrivateKey, error) {
	input := cryptobyte.String(der)
	var inner, scalar, params, public cryptobyte.String
	var version int
	var hasParams, hasPublic bool
	if !input.ReadASN1(&inner, cbasn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(&version) || version != 1 ||
		!inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) ||
		!inner.ReadOptionalASN1(&params, &hasParams, tagParams) ||
		!inner.ReadOptionalASN1(&public, &hasPublic, tagPublic) || !inner.Empty() {
		return nil, errDamaged
	}
	if hasParams {
		if err := checkParams(params); err != nil {
			return nil, err
		}
	} else if !curveKnown {
		return nil, errors.New("the key does not name its curve: put the EC PARAMETERS block that belongs to it ahead of it, or export it as PKCS#8")
	}
	priv, err := newKey(scalar)
	if err != nil || !hasPublic {
		return priv, err
	}
	var point asn1.BitString
	if !public.ReadASN1BitString(&point) || !public.Empty() || point.BitLength%8 != 0 {
		return nil, errDamaged
	}
	if err := checkPublic(priv, point.Bytes); err != nil {
		return nil, err
	}
	return priv, nil
}

// checkParams refuses ECParameters (RFC 5480 section 2.1.1) other than P-256's
// name.
func checkParams(der []byte) error {
	input := cryptobyte.String(der)
	if input.PeekASN1Tag(cbasn1.SEQUENCE) {
		return errors.New("the key spells out its curve instead of naming it: write it anew with openssl ec -in FILE -param_enc named_curve -out NEW")
	}
	var oid asn1.ObjectIdentifier
	if !input.ReadASN1ObjectIdentifier(&oid) || !input.Empty() {
		return errDamaged
	}
	if oid.String() != oidP256 {
		return fmt.Errorf("the key is on %s: %s", curve(oid), nameP256)
	}
	return nil
}

// newKey takes the private scalar. RFC 5915 wants exactly 32 bytes; writers
// that drop leading zeros, or add one, are common enough to be read.
func newKey(scalar []byte) (*ecdsa.PrivateKey, error) {
	scalar = bytes.TrimLeft(scalar, "\x00")
	var full [32]byte
	defer clear(full[:])
	if len(scalar) > len(full) {
		return nil, errScalar
	}
	copy(full[len(full)-len(scalar):], scalar)
	priv, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), full[:])
	if err != nil {
		return nil, errScalar // the one cause that is left
	}
	return priv, nil
}

// checkPublic refuses a file whose public part is not its private key's. With
// it, what a verifier was given is not what signs.
func checkPublic(priv *ecdsa.PrivateKey, point []byte) error {
	want, err := priv.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return err
	}
	compressed := append([]byte{2 + want[64]&1}, want[1:33]...)
	if !bytes.Equal(point, want) && !bytes.Equal(point, compressed) {
		return errPublic
	}
	return nil
}

// notPKCS8 says what the DER in a PRIVATE KEY block is instead.
func notPKCS8(der []byte) error {
	if _, err := parseSEC1(der, true); err == nil || !errors.Is(err, errDamaged) {
		return errors.New("the block says PRIVATE KEY and holds an EC PRIVATE KEY: correct the BEGIN and END lines")
	}
	return errDamaged
}

// looksLikeDER says whether data begins as the DER of a key does: a SEQUENCE
// with a length of two bytes or more, or one that begins with a version.
func looksLikeDER(data []byte) bool {
	return len(data) > 32 && data[0] == 0x30 && (data[1] == 0x81 || data[1] == 0x82 || data[2] == 0x02)
}
