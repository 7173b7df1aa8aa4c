// Package publish shows public keys to whoever verifies tokens: JWK Sets
// (RFC 7517 section 5), for an issuer with the document by which verifiers find
// its set (OpenID Connect Discovery 1.0 section 4, RFC 8414), over HTTP or as
// files of the same content.
//
// A [Plan] says what a configuration publishes, and where. With the keys of the
// moment it makes a [Site], which does not change: each answer of a [Handler] is
// whole, and made before anybody asks for it.
package publish

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Algorithm is the JWS algorithm of every key (RFC 7518 section 3.1).
const Algorithm = string(jose.ES256)

// The media types of the documents.
const (
	setType      = "application/jwk-set+json" // RFC 7517 section 8.5.2
	metadataType = "application/json"         // OpenID Connect Discovery 1.0 section 4.2
)

// missingAge is for how long at most a verifier may keep a set that lacks a key
// which has not been read from its store yet.
const missingAge = 10 * time.Second

// Key is a public key as verifiers get it.
type Key struct {
	KID       string
	PublicKey *ecdsa.PublicKey
	// VerifierCache is for how long a verifier may keep a set that this key is
	// in. What rotates keys waits at least that long before it signs with a new
	// one.
	VerifierCache time.Duration
}

// Equal says whether another is the same.
func (k Key) Equal(other Key) bool {
	return k.KID == other.KID && k.VerifierCache == other.VerifierCache && k.PublicKey.Equal(other.PublicKey)
}

// JWK returns the key as a JSON Web Key (RFC 7517).
func (k Key) JWK() (string, error) {
	text, err := k.jwk().MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("public key %s: %w", k.KID, err)
	}
	return string(text), nil
}

func (k Key) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.PublicKey, KeyID: k.KID, Algorithm: Algorithm, Use: "sig"}
}

// Document is what is published at one path.
type Document struct {
	Path      string // of the URL, a slash first
	MediaType string
	Body      []byte        // nil while none of its keys has been read from its store
	MaxAge    time.Duration // for how long a verifier may keep it
	Missing   []string      // the configured names of keys that have not been read from their stores yet, sorted
}

// IsSet says whether the document is a JWK Set.
func (d Document) IsSet() bool { return d.MediaType == setType }

// Site is what is published at one time.
type Site struct {
	documents []Document // by path
	pages     map[string]*page
}

// Documents returns all documents in the order of their paths.
func (s *Site) Documents() []Document { return slices.Clone(s.documents) }

// Build returns what the plan publishes when published returns the keys that
// verifiers are to know under a configured key's name: none while the key has
// not been read from its store.
func (p Plan) Build(published func(name string) []Key) (*Site, error) {
	places, err := p.places()
	if err != nil {
		return nil, err
	}
	site := &Site{pages: map[string]*page{}}
	for _, place := range places {
		document, err := place.document(published)
		if err != nil {
			return nil, err
		}
		site.documents = append(site.documents, document)
		if site.pages[place.path], err = newPage(document); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(site.documents, func(a, b Document) int { return cmp.Compare(a.Path, b.Path) })
	return site, nil
}

// document returns what is published at a place.
func (p place) document(published func(name string) []Key) (Document, error) {
	document := Document{Path: p.path, MediaType: setType}
	byKID := map[string]Key{}
	for _, name := range p.keys {
		keys := published(name)
		if len(keys) == 0 {
			document.Missing = append(document.Missing, name)
		}
		for _, key := range keys {
			byKID[key.KID] = key
		}
	}
	if len(byKID) == 0 {
		return document, nil
	}
	set := jose.JSONWebKeySet{}
	for _, kid := range slices.Sorted(maps.Keys(byKID)) {
		key := byKID[kid]
		set.Keys = append(set.Keys, key.jwk())
		if document.MaxAge == 0 || key.VerifierCache < document.MaxAge {
			document.MaxAge = key.VerifierCache
		}
	}
	if len(document.Missing) > 0 {
		document.MaxAge = min(document.MaxAge, missingAge)
	}
	var content any = set
	if p.metadata != nil {
		document.MediaType, content = metadataType, p.metadata
	}
	body, err := json.Marshal(content)
	if err != nil {
		return Document{}, fmt.Errorf("document at %s: %w", p.path, err)
	}
	document.Body = append(body, '\n') //nolint:gocritic // nobody else has it
	return document, nil
}

// metadata is what OpenID Connect Discovery 1.0 section 3 asks of an issuer that
// has no endpoint but its keys.
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims        []string `json:"claims_supported,omitempty"`
}

func (i Issuer) metadata() *metadata {
	return &metadata{
		Issuer:        i.URL,
		JWKSURI:       strings.TrimSuffix(i.URL, "/") + setPath,
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
		Algorithms:    []string{Algorithm},
		Claims:        i.Claims,
	}
}
