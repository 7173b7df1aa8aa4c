package awskms

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/jotsmith/jotsmith/backends"
)

// wrappingKeySpec is the longest that KMS has, and wrappingKeyBits its length.
const (
	wrappingKeySpec = types.WrappingKeySpecRsa4096
	wrappingKeyBits = 4096
)

// wrap encrypts a private key, as PKCS#8 in DER, for KMS alone to read.
//
// RSA_AES_KEY_WRAP_SHA_256 is an AES key of 256 bits under RSAES-OAEP with
// SHA-256 and MGF1 with SHA-256, and after it the private key under that AES key
// with AES key wrap with padding (RFC 5649). RSAES_OAEP_SHA_256 encrypts the
// private key itself with RSA.
func wrap(random io.Reader, algorithm types.AlgorithmSpec, wrappingKey []byte, key *backends.PrivateKey) ([]byte, error) {
	parsed, err := x509.ParsePKIXPublicKey(wrappingKey)
	if err != nil {
		return nil, fmt.Errorf("KMS answered a malformed wrapping key: %w", err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok || public.N.BitLen() != wrappingKeyBits {
		return nil, fmt.Errorf("KMS answered a wrapping key that is not the %s asked for", wrappingKeySpec)
	}
	der, err := key.PKCS8()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if algorithm == types.AlgorithmSpecRsaesOaepSha256 {
		return rsa.EncryptOAEP(sha256.New(), random, public, der, nil)
	}
	ephemeral := make([]byte, 32)
	defer clear(ephemeral)
	if _, err := io.ReadFull(random, ephemeral); err != nil {
		return nil, err
	}
	underRSA, err := rsa.EncryptOAEP(sha256.New(), random, public, ephemeral, nil)
	if err != nil {
		return nil, err
	}
	cipher, err := kwp.NewKWP(ephemeral)
	if err != nil {
		return nil, err
	}
	underAES, err := cipher.Wrap(der)
	if err != nil {
		return nil, errors.New("the key cannot be wrapped")
	}
	return bytes.Join([][]byte{underRSA, underAES}, nil), nil
}
