// Package oidc makes callers known by the tokens of OpenID Connect providers,
// and of whatever else publishes its keys like one: GitHub Actions, GitLab CI,
// a Kubernetes API server.
//
// Anybody can send a token, so what a stranger's costs is bounded: it must look
// right in every respect but its signature before a key is looked for, and a
// key that is not known makes a provider be asked at most once per min_refresh,
// whatever comes. What go-oidc's own RemoteKeySet would ask is unbounded, so
// its verifier works on the keys kept here, as the last word after checks that
// are stricter than its own.
package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/service/authn"
)

// Issuer is one provider, as the configuration has it.
type Issuer struct {
	Name       string        // of the operator's choice
	URL        string        // the tokens' iss, exactly; https
	Audiences  []string      // one of which must be in aud
	Algorithms []string      // of JWS; none means RS256 and ES256
	JWKSURL    string        // https; "" means as the discovery document says
	CAPEM      []byte        // the CAs of the provider's certificate; none means the system's
	MinRefresh time.Duration // the least time between two requests for the keys, more than 0
	MaxStale   time.Duration // for how long keys that are due serve while they cannot be had
}

// Verifier makes callers of the tokens of some issuers. It is safe for
// concurrent use, owns no goroutine and needs no Close.
type Verifier struct {
	now     func() time.Time
	issuers map[string]*issuer // by URL
	cache   *cache
}

// issuer is an Issuer at work.
type issuer struct {
	Issuer
	keys     *keySet
	verifier func(gooidc.KeySet) *gooidc.IDTokenVerifier
}

// Verifier returns the Verifier of a configuration. Issuers that are fetched
// from the same place as those of an earlier Verifier of these Keys share what
// was fetched, so that a reload asks nobody anything.
func (k *Keys) Verifier(issuers []Issuer) (*Verifier, error) {
	v := &Verifier{now: k.now, issuers: map[string]*issuer{}, cache: newCache()}
	for _, i := range issuers {
		if len(i.Algorithms) == 0 {
			i.Algorithms = []string{"RS256", "ES256"}
		}
		if i.MinRefresh <= 0 || i.MaxStale < 0 {
			return nil, fmt.Errorf("issuer %s: min_refresh must be more than 0, and max_stale not less", i.Name)
		}
		for _, alg := range i.Algorithms {
			if _, ok := fits[jose.SignatureAlgorithm(alg)]; !ok {
				return nil, fmt.Errorf("issuer %s: no tokens are taken by %q", i.Name, alg)
			}
		}
		if v.issuers[i.URL] != nil {
			return nil, fmt.Errorf("issuer %s: two issuers have the url %s", i.Name, i.URL)
		}
		keys, err := k.set(i)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", i.Name, err)
		}
		v.issuers[i.URL] = &issuer{Issuer: i, keys: keys, verifier: func(set gooidc.KeySet) *gooidc.IDTokenVerifier {
			return gooidc.NewVerifier(i.URL, set, &gooidc.Config{
				SkipClientIDCheck:    true, // one of several is checked before
				SupportedSigningAlgs: i.Algorithms, Now: k.now,
			})
		}}
	}
	k.forget(v)
	return v, nil
}

// Warm fetches the keys that are not there yet, and waits for them until ctx
// ends. What fails is logged, and tried again when a token comes: the server
// serves its other callers meanwhile.
func (v *Verifier) Warm(ctx context.Context) {
	var waits []<-chan struct{}
	for _, i := range v.issuers {
		if wait := i.keys.warm(ctx); wait != nil {
			waits = append(waits, wait)
		}
	}
	for _, wait := range waits {
		select {
		case <-wait:
		case <-ctx.Done():
			return
		}
	}
}

// Caller verifies a token and returns who holds it. The caller is over when the
// token is. The error is for the log alone; it holds nothing of the token but
// names that are quoted and cut.
//
// Keys that cannot be had are an error like any other. To tell a caller that
// the provider is down, one would have to tell strangers, who choose the iss.
func (v *Verifier) Caller(ctx context.Context, token string) (authn.Caller, error) {
	if len(token) > authn.MaxBearer {
		return authn.Caller{}, errors.New("bearer token is longer than 8 KiB")
	}
	now := v.now()
	digest := sha256.Sum256([]byte(token))
	if kept, ok := v.cache.get(digest, now); ok && kept.issuer.keys.still(ctx, now, kept.key) {
		return kept.caller, nil
	}
	t, err := parse(token)
	if err != nil {
		return authn.Caller{}, err
	}
	i, ok := v.issuers[t.issuer]
	if !ok {
		return authn.Caller{}, fmt.Errorf("bearer token is of an issuer that is not configured: %s", brief(t.issuer))
	}
	if err := i.acceptable(t, now); err != nil {
		return authn.Caller{}, fmt.Errorf("bearer token of %s: %w", i.Name, err)
	}
	keys, err := i.keys.find(ctx, now, t.kid)
	if err != nil {
		return authn.Caller{}, fmt.Errorf("bearer token of %s: %w", i.Name, err)
	}
	chosen := &candidates{alg: t.alg, keys: keys}
	if _, err := i.verifier(chosen).Verify(ctx, token); err != nil {
		return authn.Caller{}, fmt.Errorf("bearer token of %s: signature, or what go-oidc checks beside it, is wrong", i.Name)
	}
	caller := authn.FromToken(authn.Token{Issuer: i.Name, Subject: t.subject, Claims: t.claims}, t.expiry)
	v.cache.put(digest, entry{caller: caller, issuer: i, key: chosen.used, until: earlier(t.expiry, now.Add(maxKept))})
	return caller, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// candidates are the keys with a token's kid, as go-oidc's KeySet.
type candidates struct {
	alg  jose.SignatureAlgorithm
	keys []*key
	used *key
}

// VerifySignature returns the payload of a token that one of the keys has
// signed. Which key and which algorithm is settled before; nothing of the
// token's header but its kid had a part in it.
func (c *candidates) VerifySignature(_ context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{c.alg})
	if err != nil {
		return nil, err
	}
	for _, k := range c.keys {
		if !k.fits(c.alg) {
			continue
		}
		if payload, err := jws.Verify(k.public); err == nil {
			c.used = k
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer fits")
}
