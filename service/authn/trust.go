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
	t.current.Store(&agreed{terms, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		Certificates:           []tls.Certificate{terms.Certificate},
		ClientAuth:             auth,
		ClientCAs:              terms.ClientCAs,
		SessionTicketsDisabled: true,
	}})
}

// Certificate returns the leaf of the certificate that the server shows now; nil
// where there is none yet.
func (t *Trust) Certificate() *x509.Certificate { return t.current.Load().Certificate.Leaf }

// Credentials returns the server's side of TLS 1.3, where callers are known by
// their client certificates. Sessions are not resumed, so that every connection
// is checked against the CAs of its time (CVE-2025-68121).
func (t *Trust) Credentials() credentials.TransportCredentials {
	return tlsCredentials{
		TransportCredentials: credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return t.current.Load().config, nil
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
	certificate := &presented{trust: c.trust, chain: tlsInfo.State.PeerCertificates}
	if len(certificate.chain) > 0 && len(tlsInfo.State.VerifiedChains) > 0 {
		certificate.verdict.Store(judge(terms, tlsInfo.State.VerifiedChains[0]))
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
	chain   []*x509.Certificate // as it was sent; empty where none was
	verdict atomic.Pointer[verdict]
}

// verdict is what a certificate makes of its holder under some terms.
type verdict struct {
	terms  *agreed
	caller Caller
	reason error // why it makes him nobody
}

// judge says who the holder of a verified chain is.
func judge(terms *agreed, chain []*x509.Certificate) *verdict {
	caller, reason := FromCertificate(chain[0])
	for _, issuer := range chain[1:] { // a chain is over when its first certificate is
		if issuer.NotAfter.Before(caller.notAfter) {
			caller.notAfter = issuer.NotAfter
		}
	}
	return &verdict{terms, caller, reason}
}

// caller returns who holds the certificate under the terms of now.
func (p *presented) caller() (Caller, error) {
	terms := p.trust.current.Load()
	if known := p.verdict.Load(); known != nil && known.terms == terms {
		return known.caller, known.reason
	}
	found := p.verify(terms)
	p.verdict.Store(found)
	return found.caller, found.reason
}

// verify does again what the handshake did, under terms that came after it.
func (p *presented) verify(terms *agreed) *verdict {
	if len(p.chain) == 0 || terms.ClientCAs == nil {
		return &verdict{terms: terms, reason: errNeither}
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range p.chain[1:] {
		intermediates.AddCert(certificate)
	}
	chains, err := p.chain[0].Verify(x509.VerifyOptions{
		Roots: terms.ClientCAs, Intermediates: intermediates, CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return &verdict{terms: terms, reason: errors.New("client certificate no longer chains to a CA that is trusted")}
	}
	return judge(terms, chains[0])
}
