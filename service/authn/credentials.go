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
func UnixCredentials() credentials.TransportCredentials {
	return unixCredentials{forServers{"unix"}}
}

type unixCredentials struct{ forServers }

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

func (c unixCredentials) Clone() credentials.TransportCredentials { return c }

// LoopbackCredentials returns the server's side of plaintext gRPC on TCP, for
// connections both of whose ends are loopback addresses of this machine: who
// listens on one may be reached by others even so, where the system routes to
// it. All callers are one, FromLoopback, and no bearer token is taken from them.
func LoopbackCredentials() credentials.TransportCredentials {
	return loopbackCredentials{forServers{"plaintext"}}
}

type loopbackCredentials struct{ forServers }

func (loopbackCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	for _, end := range []net.Addr{conn.LocalAddr(), conn.RemoteAddr()} {
		if at, ok := end.(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
			return nil, nil, errors.New("not a connection of the loopback interface")
		}
	}
	return conn, identity{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity},
		caller:         FromLoopback(),
	}, nil
}

func (c loopbackCredentials) Clone() credentials.TransportCredentials { return c }

// forServers is what credentials have that are for servers alone.
type forServers struct{ protocol string }

func (forServers) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

func (f forServers) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: f.protocol}
}

func (forServers) OverrideServerName(string) error { return nil }
