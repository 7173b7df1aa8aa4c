package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// Terms are a TLS listener's certificate, and who may come.
type Terms struct {
	Certificate tls.Certificate
	// ClientCAs are what client certificates must chain to. nil asks for none:
	// then only a bearer token makes a caller known.
	ClientCAs *x509.CertPool
	// Verify, where it is set, has the last word on a client's certificates,
	// leaf first, of which TLS knows that they chain to one of ClientCAs. It
	// returns the chains that count, or why none does, for the log alone. Who has
	// none is nobody. It may be called by many at once.
	Verify func(sent []*x509.Certificate, now time.Time) (chains [][]*x509.Certificate, err error)
	// Until, where it is set, is from when on no certificate makes anybody known.
	Until time.Time
	// Optional lets in callers without a certificate too. Their connection makes
	// them nobody.
	Optional bool
}

// Trust is the terms of one listener, which can be replaced while connections
// are open: the next handshake is under the new ones, and so is the next call of
// every connection whose client certificate must still chain to the CAs. It is
// safe for concurrent use.
type Trust struct {
	current atomic.Pointer[agreed]
}

// agreed are terms with the TLS configuration that they make.
type agreed struct {
	Terms
	config *tls.Config
}

// NewTrust returns a Trust of these terms.
func NewTrust(terms Terms) *Trust {
	t := &Trust{}
	t.Replace(terms)
	return t
}

// Replace puts other terms in the place of those before.
func (t *Trust) Replace(terms Terms) {
	auth := tls.RequireAndVerifyClientCert
	switch {
	case terms.ClientCAs == nil: // with which crypto/tls would verify against the system's CAs
		auth = tls.NoClientCert
	case terms.Optional:
		auth = tls.VerifyClientCertIfGiven
	}
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		ClientAuth:             auth,
		ClientCAs:              terms.ClientCAs,
		SessionTicketsDisabled: true,
	}
	if terms.Certificate.Certificate != nil { // without one every handshake fails
		config.Certificates = []tls.Certificate{terms.Certificate}
	}
	t.current.Store(&agreed{terms, config})
}

// Certificate returns the leaf of the certificate that the server shows now; nil
// where there is none yet.
func (t *Trust) Certificate() *x509.Certificate { return t.current.Load().Certificate.Leaf }

// Credentials returns the server's side of TLS 1.3, where callers are known by
// their client certificates. Sessions are not resumed, so that every connection
// is checked against the CAs of its time (CVE-2025-68121).
func (t *Trust) Credentials() credentials.TransportCredentials {
	return t.credentials(func(config *tls.Config) *tls.Config { return config })
}

// HTTPCredentials are the same for HTTP/1.1, in which a client is answered who
// speaks HTTP/2 too.
func (t *Trust) HTTPCredentials() credentials.TransportCredentials {
	return t.credentials(func(config *tls.Config) *tls.Config {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
		return config
	})
}

func (t *Trust) credentials(speaking func(*tls.Config) *tls.Config) credentials.TransportCredentials {
	return tlsCredentials{
		TransportCredentials: credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return speaking(t.current.Load().config), nil
			},
			SessionTicketsDisabled: true,
		}),
		trust: t,
	}
}

type tlsCredentials struct {
	credentials.TransportCredentials
	trust *Trust
}

func (c tlsCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	terms := c.trust.current.Load() // before: where they change meanwhile, the certificate is looked at again
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		_ = conn.Close() // the handshake's own error is what matters
		return nil, nil, errors.New("no TLS connection")
	}
	certificate := &presented{trust: c.trust, sent: tlsInfo.State.PeerCertificates}
	if len(certificate.sent) > 0 && len(tlsInfo.State.VerifiedChains) > 0 {
		certificate.verdict.Store(judge(terms, certificate.sent, tlsInfo.State.VerifiedChains, time.Now()))
	}
	return conn, identity{CommonAuthInfo: tlsInfo.CommonAuthInfo, certificate: certificate}, nil
}

func (c tlsCredentials) Clone() credentials.TransportCredentials {
	return tlsCredentials{c.TransportCredentials.Clone(), c.trust}
}

// ClientHandshake is not for servers.
func (c tlsCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

// presented is the client certificate of a connection, with its intermediates.
type presented struct {
	trust   *Trust
	sent    []*x509.Certificate // leaf first; empty where none was
	verdict atomic.Pointer[verdict]
}

// verdict is what a certificate makes of its holder under some terms.
type verdict struct {
	terms  *agreed
	caller Caller
	reason error // why it makes him nobody
}

var (
	errOver      = errors.New("client certificate, or what it chains to, has expired since the connection was made")
	errUntrusted = errors.New("client certificate no longer chains to a CA that is trusted")
	errUntil     = errors.New("the server's own certificate has expired, and with it what it knows of the CAs of others")
)

// caller returns who holds the certificate under the terms of now.
func (p *presented) caller() (Caller, error) {
	terms, now := p.trust.current.Load(), time.Now()
	if known := p.verdict.Load(); known != nil && known.terms == terms && !known.caller.Expired(now) {
		return known.caller, known.reason
	}
	found := p.verify(terms, now)
	p.verdict.Store(found)
	return found.caller, found.reason
}

// verify does again what the handshake did, under terms that came after it, or
// when the chain of then is over and another may do.
func (p *presented) verify(terms *agreed, now time.Time) *verdict {
	if len(p.sent) == 0 || terms.ClientCAs == nil {
		return &verdict{terms: terms, reason: errNeither}
	}
	if terms.Verify != nil {
		return judge(terms, p.sent, nil, now)
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range p.sent[1:] {
		intermediates.AddCert(certificate)
	}
	chains, err := p.sent[0].Verify(x509.VerifyOptions{
		Roots: terms.ClientCAs, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		reason := errUntrusted
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			reason = errOver
		}
		return &verdict{terms: terms, reason: reason}
	}
	return judge(terms, p.sent, chains, now)
}

// judge says who the holder of certificates is. chains are what TLS found for
// them, where Verify does not look for others.
func judge(terms *agreed, sent []*x509.Certificate, chains [][]*x509.Certificate, now time.Time) *verdict {
	if !terms.Until.IsZero() && now.After(terms.Until) {
		return &verdict{terms: terms, reason: errUntil}
	}
	if terms.Verify != nil {
		var err error
		if chains, err = terms.Verify(sent, now); err != nil {
			return &verdict{terms: terms, reason: err}
		}
	}
	if len(chains) == 0 {
		return &verdict{terms: terms, reason: errUntrusted}
	}
	caller, reason := FromCertificate(sent[0])
	if reason != nil {
		return &verdict{terms: terms, reason: reason}
	}
	caller.notAfter = end(chains)
	if !terms.Until.IsZero() && terms.Until.Before(caller.notAfter) {
		caller.notAfter = terms.Until
	}
	return &verdict{terms: terms, caller: caller}
}

// end returns when the last of some chains is over. A chain is over when its
// first certificate is.
func end(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		over := chain[0].NotAfter
		for _, issuer := range chain[1:] {
			if issuer.NotAfter.Before(over) {
				over = issuer.NotAfter
			}
		}
		if over.After(last) {
			last = over
		}
	}
	return last
}
