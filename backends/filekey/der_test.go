package filekey

import (
	"crypto/ecdsa"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The writers here make the files that no honest writer makes.

// oidDER is P-256's name as an OBJECT IDENTIFIER.
var oidDER = []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}

// sec1DER is an ECPrivateKey; nil leaves the optional parts out.
func sec1DER(scalar, params, public []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1OctetString(scalar)
		if params != nil {
			b.AddASN1(tagParams, func(b *cryptobyte.Builder) { b.AddBytes(params) })
		}
		if public != nil {
			b.AddASN1(tagPublic, func(b *cryptobyte.Builder) { b.AddASN1BitString(public) })
		}
	})
	return b.BytesOrPanic()
}

func sec1Text(scalar, params, public []byte) string {
	return pemText("EC PRIVATE KEY", sec1DER(scalar, params, public))
}

// pkcs8Text is a PrivateKeyInfo around an ECPrivateKey, with the public part
// of RFC 5958 unless it is nil.
func pkcs8Text(version int64, key, public []byte) string {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(version)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1})
			b.AddBytes(oidDER)
		})
		b.AddASN1OctetString(key)
		if public != nil {
			b.AddASN1(tagPublicV2, func(b *cryptobyte.Builder) { b.AddBytes(append([]byte{0}, public...)) })
		}
	})
	return pemText("PRIVATE KEY", b.BytesOrPanic())
}

// oneLine puts a PEM block's base64 on one line.
func oneLine(text string) string {
	rows := strings.Split(strings.TrimSpace(text), "\n")
	last := len(rows) - 1
	return rows[0] + "\n" + strings.Join(rows[1:last], "") + "\n" + rows[last] + "\n"
}

func scalarOf(key *ecdsa.PrivateKey) []byte {
	b, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

func uncompressed(key *ecdsa.PrivateKey) []byte {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

func compressed(key *ecdsa.PrivateKey) []byte {
	b := uncompressed(key)
	return append([]byte{2 + b[64]&1}, b[1:33]...)
}

// negated is the compressed form of the point with the other y.
func negated(key *ecdsa.PrivateKey) []byte {
	b := compressed(key)
	b[0] ^= 1
	return b
}
