package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
)

// pinned is the only public key that is accepted under a name, and what tokens
// say of it.
type pinned struct {
	public *ecdsa.PublicKey
	spki   [sha256.Size]byte // the digest of its SubjectPublicKeyInfo
	kid    string
	head   []byte  // the header up to and with kid, without the closing brace
	from   *member // where it was read first
}

// newPinned works out what tokens say of a key. A key without a kid of its own
// has its thumbprint for one.
func newPinned(public *ecdsa.PublicKey, kid string, from *member) (*pinned, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if kid == "" {
		if kid, err = Thumbprint(public); err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
	}
	return &pinned{public, sha256.Sum256(spki), kid, head(kid), from}, nil
}

// Fits says whether a public key could be this key as it is configured, by its
// pin and by the kid that it would have.
func (k Key) Fits(public Public) bool {
	p, err := newPinned(public.PublicKey, k.KID, nil)
	return err == nil && p.kid == public.KID && (k.SPKISHA256 == nil || bytes.Equal(k.SPKISHA256, p.spki[:]))
}

// head is the start of a header with a kid.
func head(kid string) []byte {
	start, err := jsontext.AppendQuote([]byte(`{"alg":"ES256","kid":`), kid)
	if err != nil {
		panic("signer: kid is not UTF-8: " + err.Error()) // the configuration allows ASCII alone
	}
	return start
}

// Thumbprint returns a public key's thumbprint (RFC 7638) with SHA-256, in
// base64url without padding: the kid of a key that is given none.
func Thumbprint(public *ecdsa.PublicKey) (string, error) {
	digest, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(digest), err
}

// taken knows which kids and which public keys the signer's keys have, by the
// keys' names.
type taken struct {
	mu   sync.Mutex
	kids map[string]string
	keys map[[sha256.Size]byte]string // by the digest of the SubjectPublicKeyInfo
}

// take notes that a key has this kid and this public key, or says which key has
// one of them. A key's own are not in its way.
func (t *taken) take(name string, p *pinned) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.keys[p.spki]; ok && other != name {
		return fmt.Errorf("key %q has the same public key; use that one", other)
	}
	if other, ok := t.kids[p.kid]; ok && other != name {
		return fmt.Errorf("key %q has its kid %q too; a verifier could not tell them apart", other, p.kid)
	}
	t.keys[p.spki], t.kids[p.kid] = name, name
	return nil
}
