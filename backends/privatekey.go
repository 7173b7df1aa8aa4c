package backends

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// PrivateKey is a P-256 private key on its way from a file into a store. It
// shows itself to nobody who prints or logs it. Whoever made it wipes it.
type PrivateKey struct {
	scalar [32]byte
	public *ecdsa.PublicKey
}

// NewPrivateKey takes the private number, big-endian. The caller wipes scalar.
func NewPrivateKey(scalar [32]byte) (*PrivateKey, error) {
	defer clear(scalar[:])
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		return nil, errors.New("the private number is 0 or too large for P-256") // and never err, which could name it
	}
	defer Forget(key)
	public := key.PublicKey
	return &PrivateKey{scalar: scalar, public: &public}, nil
}

// Public is the public half. It stays when the key is wiped.
func (k *PrivateKey) Public() *ecdsa.PublicKey { return k.public }

// Scalar is the private number, big-endian. It shares the key's memory, which
// Wipe overwrites.
func (k *PrivateKey) Scalar() []byte { return k.scalar[:] }

// The DER of a P-256 key around its two numbers: a OneAsymmetricKey (RFC 5958
// section 2) that holds an ECPrivateKey (RFC 5915 section 3), as crypto/x509
// and openssl write it. Every length in it is the same for every key.
const (
	pkcs8Before = "\x30\x81\x87\x02\x01\x00" +
		"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07" +
		"\x04\x6d\x30\x6b\x02\x01\x01\x04\x20"
	pkcs8Between = "\xa1\x44\x03\x42\x00"
	pkcs8Length  = len(pkcs8Before) + 32 + len(pkcs8Between) + 65
)

// PKCS8 is the key in DER, in one piece of memory that the caller wipes.
// crypto/x509 would leave copies behind.
func (k *PrivateKey) PKCS8() ([]byte, error) {
	point, err := k.public.Bytes()
	if err != nil {
		return nil, err
	}
	der := make([]byte, 0, pkcs8Length)
	der = append(der, pkcs8Before...)
	der = append(der, k.scalar[:]...)
	der = append(der, pkcs8Between...)
	return append(der, point...), nil
}

// Wipe overwrites the private number.
func (k *PrivateKey) Wipe() { clear(k.scalar[:]) }

// Forget overwrites the private number of a key of crypto/ecdsa, which nobody
// uses any more. What that package keeps beside it, or left on the stack and in
// memory that was freed, it cannot reach.
func Forget(key *ecdsa.PrivateKey) {
	if key != nil && key.D != nil { //nolint:staticcheck // nothing else reaches the number
		clear(key.D.Bits()) //nolint:staticcheck // nobody uses the key any more
	}
}

const hidden = "[private key]"

// String hides the key from fmt.
func (*PrivateKey) String() string { return hidden }

// GoString hides the key from %#v.
func (*PrivateKey) GoString() string { return hidden }

// Format hides the key from every verb, those for bytes included.
func (*PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the key from slog.
func (*PrivateKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the key from JSON and its like.
func (*PrivateKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }
