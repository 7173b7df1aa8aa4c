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
		wanted, complete := wantedOf(issuer, keys)
		if local != nil {
			subject := "issuer " + issuer.URL + " at " + origin
			set, more := walk(ctx, fetcher{local, origin}, subject, origin+path, issuer.URL)
			findings = append(findings, more...)
			if set != nil {
				findings = append(findings, compareSet(subject, *set, wanted, complete)...)
				wanted, complete = withServers(wanted, *set), true
			}
		}
		if e.Consumers {
			subject := "issuer " + issuer.URL
			set, more := walk(ctx, fetcher{e.HTTP, ""}, subject, strings.TrimSuffix(issuer.URL, "/"), issuer.URL)
			findings = append(findings, more...)
			if set != nil {
				findings = append(findings, compareSet(subject, *set, wanted, complete)...)
			}
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

// wantedOf returns the keys that verifiers of an issuer should find, and whether
// those are all: a key that takes a login was not read.
func wantedOf(issuer publish.Issuer, keys []known) (wanted []known, complete bool) {
	complete = true
	for _, name := range issuer.Keys {
		n := len(wanted)
		for _, key := range keys {
			if key.name == name {
				wanted = append(wanted, key)
			}
		}
		complete = complete && len(wanted) > n
	}
	return wanted, complete
}

// withServers adds the keys that the server itself publishes, for those that
// could not be read.
func withServers(wanted []known, set jose.JSONWebKeySet) []known {
	wanted = slices.Clone(wanted)
	for _, jwk := range set.Keys {
		public, ok := jwk.Key.(*ecdsa.PublicKey)
		if ok && !slices.ContainsFunc(wanted, func(k known) bool { return k.kid == jwk.KeyID }) {
			wanted = append(wanted, known{"of the server", jwk.KeyID, public})
		}
	}
	return wanted
}

// walk follows the way of a verifier from an issuer's URL to its keys, nil where
// it does not lead there.
func walk(ctx context.Context, f fetcher, subject, base, issuer string) (*jose.JSONWebKeySet, []Finding) {
	const mend = "have what stands in front of the server pass the path on, or write the files anew: jotsmith key publish --to DIR"
	body, err := f.get(ctx, base+discovery)
	if _, away := errors.AsType[*net.OpError](err); away {
		return nil, []Finding{{Warning, subject, fmt.Sprintf("cannot be reached from here: %v", err), "if verifiers cannot either, mend its DNS name and what serves it; if this machine has no way out, look from another"}}
	}
	if err != nil {
		return nil, []Finding{fromError(Fault, subject, fmt.Errorf("the discovery document: %w", err), mend)}
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, []Finding{{Fault, subject, fmt.Sprintf("the discovery document is no JSON: %v", err), mend}}
	}
	var findings []Finding
	if document.Issuer != issuer {
		findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the discovery document says issuer %q, so verifiers refuse it", document.Issuer), mend})
	}
	if !strings.HasPrefix(document.JWKSURI, "https://") {
		return nil, append(findings, Finding{Fault, subject, fmt.Sprintf("jwks_uri is %q and not https: who is on the way can put keys of his own into it", document.JWKSURI), mend})
	}
	body, err = f.get(ctx, document.JWKSURI)
	if err != nil {
		return nil, append(findings, fromError(Fault, subject, fmt.Errorf("the JWK Set: %w", err), mend))
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, append(findings, Finding{Fault, subject, fmt.Sprintf("%s is no JWK Set: %v", document.JWKSURI, err), mend})
	}
	return &set, findings
}

// compareSet compares the keys that verifiers get with those that they should.
// Where these are not complete, none is one too many.
func compareSet(subject string, set jose.JSONWebKeySet, wanted []known, complete bool) []Finding {
	const stale = "have the server take up its configuration (jotsmith reload), write the files anew (jotsmith key publish --to DIR), and clear the caches in front"
	var findings []Finding
	for _, key := range wanted {
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
	for _, jwk := range set.Keys {
		if complete && !slices.ContainsFunc(wanted, func(k known) bool { return k.kid == jwk.KeyID }) {
			findings = append(findings, Finding{Warning, subject, fmt.Sprintf("the JWK Set has kid %q, which the configuration does not: whoever has that key can make tokens of this issuer", jwk.KeyID), "if the last token that it signed has ended, take it out: " + stale})
		}
	}
	return findings
}
