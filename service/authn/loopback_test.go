package authn

import (
	"net"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

func TestLoopbackCallersAreOne(t *testing.T) {
	address := serve(t, listenTCP(t), LoopbackCredentials())
	for range 2 {
		if got := ask(t, address, insecure.NewCredentials()); got.Code() != codes.NotFound || got.Message() != "loopback" {
			t.Error(got)
		}
	}
	caller := FromLoopback()
	if !caller.Known() || !caller.Loopback() || caller.Expires() || caller.Proof() != "loopback" {
		t.Errorf("%+v", caller)
	}
	if _, ok := caller.Unix(); ok {
		t.Error("has ids")
	}
	for _, other := range []Caller{{}, FromUnix(Unix{}), FromToken(Token{Issuer: "loopback"}, caller.notAfter)} {
		if other.Loopback() || other.String() == caller.String() {
			t.Errorf("%v is one too", other)
		}
	}
}

// ends is a connection with these addresses.
type ends struct {
	net.Conn
	local, remote net.Addr
}

func (e ends) LocalAddr() net.Addr  { return e.local }
func (e ends) RemoteAddr() net.Addr { return e.remote }

// Who listens on 127.0.0.1 can be reached from elsewhere where the system routes
// to it (route_localnet), and a listener on all addresses by everybody.
func TestLoopbackCredentialsRefuseOtherConnections(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for _, c := range []struct {
		local, remote net.Addr
		want          bool
	}{
		{at("127.0.0.1"), at("127.0.0.1"), true},
		{at("127.0.0.1"), at("127.8.9.10"), true},
		{at("::1"), at("::1"), true},
		{at("::ffff:127.0.0.1"), at("::ffff:127.0.0.1"), true},
		{at("127.0.0.1"), at("192.0.2.1"), false},
		{at("192.0.2.1"), at("127.0.0.1"), false},
		{at("192.0.2.1"), at("192.0.2.1"), false}, // this machine too, by an address that others have a way to
		{at("127.0.0.1"), at("::ffff:192.0.2.1"), false},
		{at("::1"), at("fe80::1"), false},
		{at("::"), at("::"), false},
		{at("0.0.0.0"), at("0.0.0.0"), false},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, &net.UnixAddr{Net: "unix"}, false},
		{at("127.0.0.1"), nil, false},
	} {
		_, info, err := LoopbackCredentials().ServerHandshake(ends{local: c.local, remote: c.remote})
		if (err == nil) != c.want || (info != nil) != c.want {
			t.Errorf("from %v to %v: %v, %v", c.remote, c.local, info, err)
		}
	}
}

func TestLoopbackTakesNoBearer(t *testing.T) {
	_, info, err := LoopbackCredentials().Clone().ServerHandshake(ends{local: &net.TCPAddr{IP: net.IPv6loopback}, remote: &net.TCPAddr{IP: net.IPv6loopback}})
	if err != nil {
		t.Fatal(err)
	}
	if err := credentials.CheckSecurityLevel(info, credentials.IntegrityOnly); err == nil {
		t.Error("taken for a safe connection")
	}
	ctx := metadata.NewIncomingContext(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}), metadata.Pairs("authorization", "Bearer a.b.c"))
	if token, sent, err := Bearer(ctx); token != "" || !sent || err == nil {
		t.Errorf("%q, %v, %v", token, sent, err)
	}
}

func TestLoopbackCredentialsAreForServers(t *testing.T) {
	if _, _, err := LoopbackCredentials().ClientHandshake(t.Context(), "", nil); err == nil {
		t.Error("shook hands as a client")
	}
}
