package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxBody        = 1 << 20
	maxKeys        = 64
	maxRedirects   = 3
	discoveryLasts = time.Hour
)

// key is a public key of an issuer.
type key struct {
	kid    string
	alg    string // the only one that the issuer uses it for, if it says so
	public crypto.PublicKey
	digest [sha256.Size]byte // of all of the above
}

// fits says which keys an algorithm works with, for each that can be allowed.
var fits = map[jose.SignatureAlgorithm]func(crypto.PublicKey) bool{
	jose.RS256: isRSA, jose.RS384: isRSA, jose.RS512: isRSA,
	jose.PS256: isRSA, jose.PS384: isRSA, jose.PS512: isRSA,
	jose.ES256: isEC(elliptic.P256()), jose.ES384: isEC(elliptic.P384()),
	jose.EdDSA: func(public crypto.PublicKey) bool { _, ok := public.(ed25519.PublicKey); return ok },
}

func isRSA(public crypto.PublicKey) bool {
	const least, most = 2048, 8192
	k, ok := public.(*rsa.PublicKey)
	return ok && k.N.BitLen() >= least && k.N.BitLen() <= most
}

func isEC(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(public crypto.PublicKey) bool {
		k, ok := public.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

func (k *key) fits(alg jose.SignatureAlgorithm) bool {
	check, ok := fits[alg]
	return ok && check(k.public) && (k.alg == "" || k.alg == string(alg))
}

// newClient returns an HTTP client for one provider: HTTPS, bounded, and
// nowhere but to the host that was asked. It keeps no connection, so that
// nothing is left of it when it is dropped.
func newClient(caPEM []byte) (*http.Client, error) {
	var roots *x509.CertPool
	if len(caPEM) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("the CA file holds no PEM certificate")
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout:    fetchTimeout,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if first := via[0].URL; next.URL.Scheme != "https" || next.URL.Host != first.Host || len(via) > maxRedirects {
				return errNoRedial
			}
			return nil
		},
	}, nil
}

// discovery is what a provider's discovery document said of its keys.
type discovery struct {
	jwks  string
	until time.Time
}

// fetch asks the issuer for its keys. Only one call is under way at a time.
func (s *keySet) fetch(ctx context.Context) (map[string][]*key, error) {
	from := s.jwks
	if from == "" {
		now := s.owner.now()
		if s.discovery.jwks == "" || !now.Before(s.discovery.until) {
			found, err := s.discover(ctx)
			if err != nil {
				return nil, fmt.Errorf("discovery: %w", err)
			}
			s.discovery = discovery{found, now.Add(discoveryLasts)}
		}
		from = s.discovery.jwks
	}
	body, err := s.get(ctx, from)
	if err == nil {
		var keys map[string][]*key
		if keys, err = parseKeys(body); err == nil {
			return keys, nil
		}
	}
	s.discovery = discovery{} // it may have moved
	return nil, fmt.Errorf("JWK Set: %w", err)
}

// discover returns the jwks_uri of the issuer (OpenID Connect Discovery 1.0
// section 4). A document that names another issuer is not this one's.
func (s *keySet) discover(ctx context.Context) (string, error) {
	body, err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var issuer, jwks string
	err = members(body, func(name string, value jsontext.Value) (err error) {
		switch name {
		case "issuer":
			issuer, err = text(value)
		case "jwks_uri":
			jwks, err = text(value)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if issuer != s.issuer {
		return "", fmt.Errorf("the document is of the issuer %s", brief(issuer))
	}
	if u, err := url.Parse(jwks); err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("jwks_uri %s is not an https URL", brief(jwks))
	}
	return jwks, nil
}

func (s *keySet) get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Header.Set("User-Agent", "jotsmith")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", from, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%s answered with more than 1 MiB", from)
	}
	return body, nil
}

// parseKeys reads a JWK Set (RFC 7517 section 5). Keys that are of no use here
// are left out, as that section asks: without kid, not for signatures, of
// another kind. No keys at all is an answer too.
func parseKeys(body []byte) (map[string][]*key, error) {
	keys, found, count := map[string][]*key{}, false, 0
	err := members(body, func(name string, value jsontext.Value) error {
		if name != "keys" {
			return nil
		}
		found = true
		return items(value, func(item jsontext.Value) error {
			if count++; count > maxKeys {
				return errors.New("more than 64 keys")
			}
			if k := parseKey(item); k != nil {
				keys[k.kid] = append(keys[k.kid], k)
			}
			return nil
		})
	})
	if err == nil && !found {
		err = errors.New("no keys in it")
	}
	return keys, err
}

// parseKey returns nil for a key that is of no use.
func parseKey(item jsontext.Value) *key {
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(item) != nil || jwk.KeyID == "" || len(jwk.KeyID) > maxKID || jwk.Use != "" && jwk.Use != "sig" {
		return nil
	}
	k := &key{kid: jwk.KeyID, alg: jwk.Algorithm, public: jwk.Key}
	for alg := range fits {
		if k.fits(alg) {
			der, err := x509.MarshalPKIXPublicKey(k.public)
			if err != nil {
				return nil
			}
			k.digest = sha256.Sum256(append([]byte(k.kid+"\x00"+k.alg+"\x00"), der...))
			return k
		}
	}
	return nil
}

// items calls visit with each item of a JSON array.
func items(value jsontext.Value, visit func(jsontext.Value) error) error {
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	if dec.PeekKind() != '[' {
		return errors.New("not a JSON array")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		item, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := visit(item); err != nil {
			return err
		}
	}
	return nil
}
