package service_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

// shaken says what a client sees of a handshake.
func (c *wire) shaken(err error) string {
	if err == nil {
		if _, err = c.conn.Read(make([]byte, 1)); err == nil {
			return "let in"
		}
	}
	return c.end(err)
}

// certificateFaults are those of client certificates.
func certificateFaults() []fault {
	// knock shakes hands with a certificate.
	knock := func(change func(*x509.Certificate)) func(*world) string {
		return func(w *world) string {
			c, err := w.shake(w.mtls, w.client(w.root, change))
			return c.shaken(err)
		}
	}
	// ask makes a call with one that TLS lets in.
	ask := func(change func(*x509.Certificate)) func(*world) string {
		return func(w *world) string {
			return w.tls(w.mtls, w.client(w.root, change)).call(mintMethod, message(w.t))
		}
	}
	return []fault{
		{
			name: "no client certificate", want: "TLS alert: certificate required",
			do: func(w *world) string {
				c, err := w.shake(w.mtls, w.anonymous())
				return c.shaken(err)
			},
		},
		{
			name: "a certificate of another CA", want: "TLS alert: unknown certificate authority",
			do: func(w *world) string {
				c, err := w.shake(w.mtls, w.client(w.other, func(*x509.Certificate) {}))
				return c.shaken(err)
			},
		},
		{
			name: "a certificate that another's certificate has signed", want: "TLS alert: unknown certificate authority",
			do: func(w *world) string {
				leaf := w.root.Issue(func(c *x509.Certificate) { c.URIs = []*url.URL{authntest.URI(w.t, callerURI)} })
				c, err := w.shake(w.mtls, w.client(w.root.Below(leaf), func(*x509.Certificate) {}))
				return c.shaken(err)
			},
		},
		{
			name: "another's certificate, without its key", want: "TLS alert: error decrypting message",
			do: func(w *world) string {
				stolen := w.root.Issue(func(c *x509.Certificate) { c.URIs = []*url.URL{authntest.URI(w.t, callerURI)} })
				stolen.PrivateKey = authntest.NewKey(w.t)
				cfg := w.anonymous()
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stolen, nil }
				c, err := w.shake(w.mtls, cfg)
				return c.shaken(err)
			},
		},
		{
			name: "an expired certificate", want: "TLS alert: expired certificate",
			do: knock(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		},
		{
			name: "a certificate that is not valid yet", want: "TLS alert: expired certificate",
			do: knock(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		},
		{
			name: "a certificate for servers alone", want: "TLS alert: bad certificate",
			do: knock(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		},
		{
			name: "a certificate with two URIs", want: "UNAUTHENTICATED (UNAUTHENTICATED)", record: "UNAUTHENTICATED",
			do: ask(func(c *x509.Certificate) {
				c.URIs = append(c.URIs, &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/b"})
			}),
		},
		{
			name: "a certificate with a common name alone", want: "UNAUTHENTICATED (UNAUTHENTICATED)", record: "UNAUTHENTICATED",
			do: ask(func(c *x509.Certificate) { c.URIs, c.Subject = nil, pkix.Name{CommonName: callerURI} }),
		},
		{
			name: "a certificate of somebody without a grant", want: "PERMISSION_DENIED (NOT_GRANTED)", record: "NOT_GRANTED",
			do: ask(func(c *x509.Certificate) { c.URIs[0].Path = "/other" }),
		},
		{
			name: "a certificate that has expired since the connection was made", want: "UNAUTHENTICATED (UNAUTHENTICATED)", record: "UNAUTHENTICATED",
			do: func(w *world) string {
				c := w.tls(w.mtls, w.client(w.root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) }))
				if got := c.call(unknownMethod, message(w.t)); got != "UNIMPLEMENTED" { // the connection is made by then
					return got
				}
				w.now(31 * time.Minute)
				return c.call(mintMethod, message(w.t))
			},
		},
		{
			name: "a certificate whose CA was removed since the connection was made", want: "UNAUTHENTICATED (UNAUTHENTICATED)", record: "UNAUTHENTICATED",
			do: func(w *world) string {
				w.trustToo()
				c := w.tls(w.mtls, w.client(w.other, func(*x509.Certificate) {}))
				if got := c.call(unknownMethod, message(w.t)); got != "UNIMPLEMENTED" {
					return got
				}
				w.trust.Replace(authn.Terms{Certificate: w.root.Server(), ClientCAs: w.root.Pool()})
				return c.call(mintMethod, message(w.t))
			},
		},
		{
			name: "a session to be resumed whose CA was removed", want: "TLS alert: unknown certificate authority",
			do: func(w *world) string {
				w.trustToo()
				cfg := w.client(w.other, func(*x509.Certificate) {})
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				c := w.tls(w.mtls, cfg)
				if got := c.call(unknownMethod, message(w.t)); got != "UNIMPLEMENTED" { // a ticket would have come by now
					return got
				}
				w.trust.Replace(authn.Terms{Certificate: w.root.Server(), ClientCAs: w.root.Pool()})
				c, err := w.shake(w.mtls, cfg)
				if state := c.conn.(*tls.Conn).ConnectionState(); state.DidResume {
					return "the session is resumed"
				}
				return c.shaken(err)
			},
		},
		{
			name: "a Unix caller without a grant", want: "PERMISSION_DENIED (NOT_GRANTED)", record: "NOT_GRANTED",
			do: func(w *world) string { return w.unix().call(mintMethod, message(w.t)) },
		},
		{
			name: "metadata in which a proxy says who calls", want: "PERMISSION_DENIED (NOT_GRANTED)", record: "NOT_GRANTED",
			do: func(w *world) string {
				return w.unix().call(mintMethod, message(w.t), ":authority", callerURI,
					"x-forwarded-for", "127.0.0.1", "forwarded", "for=127.0.0.1", "x-forwarded-client-cert", "URI="+callerURI,
					"x-real-ip", "127.0.0.1", "x-remote-user", callerURI, "x-spiffe-id", callerURI)
			},
		},
	}
}

// trustToo has the listener for certificates take those of the other CA too.
func (w *world) trustToo() {
	both := w.root.Pool()
	both.AddCert(w.other.Certificate)
	w.trust.Replace(authn.Terms{Certificate: w.root.Server(), ClientCAs: both})
}

// bearerFaults are those of bearer tokens.
func bearerFaults() []fault {
	ask := func(values ...string) func(*world) string {
		return func(w *world) string {
			var more []string
			for _, value := range values {
				more = append(more, "authorization", value)
			}
			return w.tls(w.bearers, w.anonymous()).call(mintMethod, message(w.t), more...)
		}
	}
	nobody := "UNAUTHENTICATED (UNAUTHENTICATED)"
	return []fault{
		{name: "a bearer token that is good", want: "OK", record: "minted", do: ask("Bearer " + goodToken)},
		{name: "neither a certificate nor a bearer token", want: nobody, record: "UNAUTHENTICATED", do: ask()},
		{name: "a bearer token that nobody signed", want: nobody, record: "UNAUTHENTICATED", do: ask("Bearer " + secret)},
		{name: "a bearer token that is no JWT", want: nobody, record: "UNAUTHENTICATED", do: ask("Bearer x")},
		{name: "two authorization values", want: nobody, record: "UNAUTHENTICATED", do: ask("Bearer "+goodToken, "Bearer "+goodToken)},
		{name: "a password", want: nobody, record: "UNAUTHENTICATED", do: ask("Basic dXNlcjpwYXNz")},
		{
			name: "a bearer token longer than 8 KiB", want: nobody, record: "UNAUTHENTICATED",
			do: ask("Bearer " + goodToken + strings.Repeat("A", authn.MaxBearer)),
		},
		{
			name: "a bearer token that is good, in plaintext on the loopback interface", want: nobody, record: "UNAUTHENTICATED",
			do: func(w *world) string {
				return w.plain(w.loopback).call(mintMethod, message(w.t), "authorization", "Bearer "+goodToken)
			},
		},
		{
			name: "a call in plaintext on the loopback interface, without a grant", want: "PERMISSION_DENIED (NOT_GRANTED)", record: "NOT_GRANTED",
			do: func(w *world) string { return w.plain(w.loopback).call(mintMethod, message(w.t)) },
		},
		{
			name: "a bearer token that is refused, beside a certificate that is good", want: nobody, record: "UNAUTHENTICATED",
			do: func(w *world) string {
				return w.tls(w.mtls, w.good).call(mintMethod, message(w.t), "authorization", "Bearer "+secret)
			},
		},
	}
}
