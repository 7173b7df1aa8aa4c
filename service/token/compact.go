// Package token knows the JWS compact serialization (RFC 7515 section 7.1) of
// a JWT: how it is put together, and how it is taken apart to be looked at.
package token

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"unsafe"
)

// redacted is what a token says of itself wherever it is printed.
const redacted = "[token]"

// Compact is a finished JWT. It redacts itself in logs and formatted text;
// Reveal is the only way to the token.
//
// It holds the text by its address: fmt reads the unexported fields of a
// struct without asking their methods, and must find no token there either.
type Compact struct {
	data *byte
	size int
}

// Reveal returns the token for the one who asked for it.
func (c Compact) Reveal() string { return unsafe.String(c.data, c.size) }

// Digest returns the SHA-256 of the token, by which records name it.
func (c Compact) Digest() [sha256.Size]byte {
	return sha256.Sum256(unsafe.Slice(c.data, c.size))
}

// String redacts.
func (Compact) String() string { return redacted }

// GoString redacts.
func (Compact) GoString() string { return redacted }

// LogValue redacts.
func (Compact) LogValue() slog.Value { return slog.StringValue(redacted) }

// SigningInput is the ASCII text that is signed, BASE64URL(header) "."
// BASE64URL(claims set), with room behind it for the signature.
type SigningInput struct{ text []byte }

// NewSigningInput encodes a header and a claims set, both JSON objects.
func NewSigningInput(header, claims []byte) SigningInput {
	enc := base64.RawURLEncoding
	size := enc.EncodedLen(len(header)) + 1 + enc.EncodedLen(len(claims)) + 1 + enc.EncodedLen(64)
	text := make([]byte, 0, size)
	text = enc.AppendEncode(text, header)
	text = append(text, '.')
	text = enc.AppendEncode(text, claims)
	return SigningInput{text}
}

// Bytes returns the text to be hashed and signed. It must not be changed.
func (in SigningInput) Bytes() []byte { return in.text }

// Join appends the signature, r then s (RFC 7518 section 3.4), and gives the
// text away: the SigningInput must not be used again.
func (in SigningInput) Join(signature [64]byte) Compact {
	text := base64.RawURLEncoding.AppendEncode(append(in.text, '.'), signature[:])
	return Compact{unsafe.SliceData(text), len(text)}
}
