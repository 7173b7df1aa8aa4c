package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// identity is the AuthInfo of a connection: the caller, or why there is none.
type identity struct {
	credentials.CommonAuthInfo
	caller Caller
	reason error
}

var errNeither = errors.New("neither a client certificate nor a bearer token")

// AuthType names the kind of identity for gRPC.
func (i identity) AuthType() string { return "jotsmith" }

// FromContext returns the caller of the gRPC call that ctx belongs to. The
// error, for the log alone, says why the connection has none.
func FromContext(ctx context.Context) (Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, errors.New("no peer")
	}
	id, ok := p.AuthInfo.(identity)
	if !ok {
		return Caller{}, errors.New("connection has no identity")
	}
	return id.caller, id.reason
}

// UnixCredentials returns the server's side of plaintext gRPC on a Unix
// socket, where callers are known by their peer credentials.
func UnixCredentials() credentials.TransportCredentials { return unixCredentials{} }

type unixCredentials struct{}

func (unixCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok || conn.LocalAddr().Network() != "unix" {
		return nil, nil, errors.New("not a Unix socket")
	}
	cred, err := peerCredentials(socket)
	if err != nil {
		return nil, nil, err
	}
	return conn, identity{
		// The kernel carries the bytes between the two processes; this is the
		// level that credentials/local gives a Unix socket too.
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		caller:         FromUnix(cred),
	}, nil
}

func (unixCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

func (unixCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}

func (c unixCredentials) Clone() credentials.TransportCredentials { return c }

func (unixCredentials) OverrideServerName(string) error { return nil }

// TLSCredentials returns the server's side of TLS 1.3, where callers are known
// by a client certificate that chains to clientCAs. Sessions are not resumed,
// so that every connection is checked against the CAs of its time
// (CVE-2025-68121).
func TLSCredentials(certificate tls.Certificate, clientCAs *x509.CertPool) credentials.TransportCredentials {
	return newTLS(certificate, tls.RequireAndVerifyClientCert, clientCAs)
}

// TLSCredentialsForBearers returns TLSCredentials that let in callers without a
// certificate too. Their connection makes them nobody; only a bearer token
// makes them known. A certificate that is sent must chain to clientCAs. Where
// clientCAs is nil none is asked for.
func TLSCredentialsForBearers(certificate tls.Certificate, clientCAs *x509.CertPool) credentials.TransportCredentials {
	if clientCAs == nil { // with which crypto/tls would verify against the system's CAs
		return newTLS(certificate, tls.NoClientCert, nil)
	}
	return newTLS(certificate, tls.VerifyClientCertIfGiven, clientCAs)
}

func newTLS(certificate tls.Certificate, auth tls.ClientAuthType, clientCAs *x509.CertPool) credentials.TransportCredentials {
	return tlsCredentials{
		TransportCredentials: credentials.NewTLS(&tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{certificate},
			ClientAuth:             auth,
			ClientCAs:              clientCAs,
			SessionTicketsDisabled: true,
		}),
		optional: auth != tls.RequireAndVerifyClientCert,
	}
}

type tlsCredentials struct {
	credentials.TransportCredentials
	optional bool // whether a caller may come without a certificate
}

func (c tlsCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if ok && c.optional && len(tlsInfo.State.PeerCertificates) == 0 {
		return conn, identity{CommonAuthInfo: tlsInfo.CommonAuthInfo, reason: errNeither}, nil
	}
	if !ok || len(tlsInfo.State.VerifiedChains) == 0 {
		_ = conn.Close() // the handshake's own error is what matters
		return nil, nil, errors.New("no verified client certificate")
	}
	chain := tlsInfo.State.VerifiedChains[0]
	caller, reason := FromCertificate(chain[0])
	for _, issuer := range chain[1:] { // a chain is over when its first certificate is
		if issuer.NotAfter.Before(caller.notAfter) {
			caller.notAfter = issuer.NotAfter
		}
	}
	return conn, identity{CommonAuthInfo: tlsInfo.CommonAuthInfo, caller: caller, reason: reason}, nil
}

func (c tlsCredentials) Clone() credentials.TransportCredentials {
	return tlsCredentials{c.TransportCredentials.Clone(), c.optional}
}
