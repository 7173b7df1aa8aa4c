package authn

import (
	"context"
	"errors"
	"net"
	"syscall"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// identity is the AuthInfo of a connection: the caller, or why there is none.
type identity struct {
	credentials.CommonAuthInfo
	certificate *presented // of a TLS connection, which may be judged otherwise later; else nil
	caller      Caller
	reason      error
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
	if id.certificate != nil {
		return id.certificate.caller()
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
