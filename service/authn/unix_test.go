package authn

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestUnixCallerIsKnownByHisIDs(t *testing.T) {
	path := serve(t, listenUnix(t), UnixCredentials())
	want := FromUnix(Unix{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}).String() //nolint:gosec // ids are 32 bits
	if got := ask(t, "unix://"+path, insecure.NewCredentials()); got.Code() != codes.NotFound || got.Message() != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestUnixCredentialsRefuseOtherSockets(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		listener := listenTCP(t)
		defer listener.Close() //nolint:errcheck // nothing to lose
		client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close() //nolint:errcheck // nothing to lose
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close() //nolint:errcheck // nothing to lose
		if _, info, err := UnixCredentials().ServerHandshake(server); err == nil || info != nil {
			t.Errorf("let in as %v", info)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close() //nolint:errcheck // nothing to lose
		if _, info, err := UnixCredentials().ServerHandshake(server); err == nil || info != nil {
			t.Errorf("let in as %v", info)
		}
	})
	t.Run("closed", func(t *testing.T) {
		listener := listenUnix(t)
		defer listener.Close() //nolint:errcheck // nothing to lose
		client, err := (&net.Dialer{}).DialContext(t.Context(), "unix", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if _, info, err := UnixCredentials().ServerHandshake(client); err == nil || info != nil {
			t.Errorf("let in as %v", info)
		}
	})
}

func TestUnixCredentialsAreForServers(t *testing.T) {
	if _, _, err := UnixCredentials().ClientHandshake(t.Context(), "", nil); err == nil {
		t.Error("shook hands as a client")
	}
}

func TestContextWithoutAnIdentityHasNoCaller(t *testing.T) {
	for name, ctx := range map[string]context.Context{
		"no peer":            t.Context(),
		"no identity":        peer.NewContext(t.Context(), &peer.Peer{}),
		"another's identity": peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{}}),
	} {
		if caller, err := FromContext(ctx); err == nil || caller.Known() {
			t.Errorf("%s: %v, %v", name, caller, err)
		}
	}
}

func TestIdentityIsThatOfAnEncryptedConnection(t *testing.T) {
	id := identity{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	if err := credentials.CheckSecurityLevel(id, credentials.PrivacyAndIntegrity); err != nil {
		t.Error(err)
	}
	if id.AuthType() != "jotsmith" || UnixCredentials().Info().SecurityProtocol != "unix" { //nolint:staticcheck // the interface has it
		t.Error("unnamed")
	}
}
