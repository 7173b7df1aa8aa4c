package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/service/publish"
)

// maxDocument is far more than a published document, or an answer that is only
// asked for its Date, has in bytes.
const maxDocument = 1 << 20

const discovery = "/.well-known/openid-configuration"

// published fetches what is published of each issuer, from the listener of this
// machine and, where we may, from where verifiers do, and compares it with what
// should be there.
func (e *Exam) published(ctx context.Context, keys []known) []Finding {
	if len(e.Config.Published.Issuers) == 0 {
		return nil
	}
	var findings []Finding
	local, origin, fault := e.localPublisher(ctx)
	if fault != nil {
		findings = append(findings, *fault)
	}
	for _, issuer := range e.Config.Published.Issuers {
		path, err := publish.PathOf(issuer.URL)
		if err != nil {
			continue // which the check of the configuration has said
		}
		if local != nil {
			findings = append(findings, compare(ctx, fetcher{local, origin}, "issuer "+issuer.URL+" at "+origin, origin+path, issuer, keys)...)
		}
		if e.Consumers {
			findings = append(findings, compare(ctx, fetcher{e.HTTP, ""}, "issuer "+issuer.URL, strings.TrimSuffix(issuer.URL, "/"), issuer, keys)...)
		}
	}
	if local != nil {
		local.CloseIdleConnections()
	}
	if !e.Consumers {
		findings = append(findings, Finding{Note, "publish", "what verifiers get at the issuers' own URLs was not looked at", "fetch it, by --contact-consumers"})
	}
	return findings
}

// localPublisher returns a client for the listener that publishes here, and its
// origin; nil where there is none, or none answers.
func (e *Exam) localPublisher(ctx context.Context) (*http.Client, string, *Finding) {
	p := e.Config.GetPublish()
	host, port, err := net.SplitHostPort(p.GetAddress())
	if err != nil || port == "0" {
		return nil, "", nil
	}
	if !concrete(host) {
		host = "localhost"
	}
	address := net.JoinHostPort(host, port)
	conn, err := (&net.Dialer{Timeout: lookTime}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, "", &Finding{Note, "publish " + p.GetAddress(), fmt.Sprintf("nobody answers there, so what is published was not looked at: %v", err), "start the server"}
	}
	_ = conn.Close() // that it opened is all
	transport := &http.Transport{Proxy: nil}
	scheme := "http://"
	if p.GetCertificateFile() != "" {
		scheme = "https://"
		transport.TLSClientConfig = ourOwn(p.GetCertificateFile())
	}
	return &http.Client{Transport: transport, Timeout: lookTime}, scheme + address, nil
}

// ourOwn accepts the certificate of a file alone, whatever name we call it by:
// the one who shows it is the server whose file it is.
func ourOwn(file string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			_, chain, err := readChain(file)
			if err != nil {
				return err
			}
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(chain[0]) {
				return errors.New("the server shows another certificate than the file has; jotsmith reload takes up a new one")
			}
			return nil
		},
	}
}

// fetcher fetches documents, all from one origin where that is set.
type fetcher struct {
	client *http.Client
	origin string
}

func (f fetcher) get(ctx context.Context, address string) ([]byte, error) {
	if f.origin != "" {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		address = f.origin + u.EscapedPath()
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxDocument))
}

// compare follows the way of a verifier from an issuer's URL to its keys.
func compare(ctx context.Context, f fetcher, subject, base string, issuer publish.Issuer, keys []known) []Finding {
	const mend = "have what stands in front of the server pass the path on, or write the files anew: jotsmith key publish --to DIR"
	body, err := f.get(ctx, base+discovery)
	if err != nil {
		return []Finding{fromError(Fault, subject, fmt.Errorf("the discovery document: %w", err), mend)}
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return []Finding{{Fault, subject, fmt.Sprintf("the discovery document is no JSON: %v", err), mend}}
	}
	var findings []Finding
	if document.Issuer != issuer.URL {
		findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the discovery document says issuer %q, so verifiers refuse it", document.Issuer), mend})
	}
	if !strings.HasPrefix(document.JWKSURI, "https://") {
		return append(findings, Finding{Fault, subject, fmt.Sprintf("jwks_uri is %q and not https: who is on the way can put keys of his own into it", document.JWKSURI), mend})
	}
	body, err = f.get(ctx, document.JWKSURI)
	if err != nil {
		return append(findings, fromError(Fault, subject, fmt.Errorf("the JWK Set: %w", err), mend))
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		return append(findings, Finding{Fault, subject, fmt.Sprintf("%s is no JWK Set: %v", document.JWKSURI, err), mend})
	}
	return append(findings, compareSet(subject, set, issuer, keys)...)
}

// compareSet compares the keys that verifiers get with those that they should.
func compareSet(subject string, set jose.JSONWebKeySet, issuer publish.Issuer, keys []known) []Finding {
	const stale = "have the server take up its configuration (jotsmith reload), write the files anew (jotsmith key publish --to DIR), and clear the caches in front"
	var findings []Finding
	wanted := map[string]bool{}
	for _, key := range keys {
		if !slices.Contains(issuer.Keys, key.name) {
			continue
		}
		wanted[key.kid] = true
		there := set.Key(key.kid)
		switch {
		case len(there) == 0:
			findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the JWK Set lacks kid %q of key %s, so its tokens are refused", key.kid, key.name), stale})
		case !slices.ContainsFunc(there, func(jwk jose.JSONWebKey) bool {
			public, ok := jwk.Key.(*ecdsa.PublicKey)
			return ok && key.public.Equal(public)
		}):
			findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the JWK Set has another key under kid %q than key %s is, so its tokens are refused", key.kid, key.name), stale})
		}
	}
	complete := len(wanted) > 0
	for _, name := range issuer.Keys {
		complete = complete && slices.ContainsFunc(keys, func(k known) bool { return k.name == name })
	}
	for _, jwk := range set.Keys {
		if complete && !wanted[jwk.KeyID] {
			findings = append(findings, Finding{Warning, subject, fmt.Sprintf("the JWK Set has kid %q, which the configuration does not: whoever has that key can make tokens of this issuer", jwk.KeyID), "if the last token that it signed has ended, take it out: " + stale})
		}
	}
	return findings
}
