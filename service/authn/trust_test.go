package authn

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// connected shakes hands with a client certificate and returns who its holder is
// from then on.
func connected(t *testing.T, trust *Trust, root *authority, client tls.Certificate) func() (Caller, error) {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: root.pool(), Certificates: []tls.Certificate{client}}
	info, serverErr, _, clientErr := shake(t, trust.Credentials(), config)
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	return func() (Caller, error) {
		return FromContext(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}))
	}
}

func TestConnectionIsKnownForAsLongAsItsCertificateIsTrusted(t *testing.T) {
	root, other := newAuthority(t), newAuthority(t)
	id, err := url.Parse("spiffe://example.org/ci")
	if err != nil {
		t.Fatal(err)
	}
	client := root.intermediate().issue(func(c *x509.Certificate) { c.URIs = []*url.URL{id} })
	terms := Terms{Certificate: root.server(), ClientCAs: root.pool()}
	trust := NewTrust(terms)
	who := connected(t, trust, root, client)
	known := func(why string) {
		t.Helper()
		if caller, err := who(); err != nil || caller.String() != "uri:spiffe://example.org/ci" || caller.notAfter.IsZero() {
			t.Errorf("%s: %v, %v", why, caller, err)
		}
	}
	nobody := func(why string) {
		t.Helper()
		if caller, err := who(); err == nil || caller.Known() {
			t.Errorf("%s: still %v", why, caller)
		}
	}
	known("at first")
	both := root.pool()
	both.AddCert(other.cert)
	trust.Replace(Terms{Certificate: root.server(), ClientCAs: both})
	known("with another CA beside his own")
	trust.Replace(Terms{Certificate: root.server(), ClientCAs: other.pool()})
	nobody("after his CA has gone")
	nobody("the second time")
	trust.Replace(Terms{Certificate: root.server(), ClientCAs: other.pool(), Optional: true})
	nobody("where certificates are optional")
	trust.Replace(Terms{Certificate: root.server()})
	nobody("where none is asked for")
	trust.Replace(terms)
	known("after his CA has come back")
}

func TestNewHandshakesAreUnderTheNewTerms(t *testing.T) {
	root, other := newAuthority(t), newAuthority(t)
	trust := NewTrust(Terms{Certificate: root.server(), ClientCAs: root.pool()})
	trust.Replace(Terms{Certificate: other.server(), ClientCAs: other.pool()})
	client := func(server, of *authority) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: server.pool(),
			Certificates: []tls.Certificate{of.issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })},
		}
	}
	creds := trust.Credentials()
	if _, serverErr, _, clientErr := shake(t, creds, client(other, other)); serverErr != nil || clientErr != nil {
		t.Errorf("the new CA's: %v, %v", serverErr, clientErr)
	}
	if _, serverErr, _, clientErr := shake(t, creds.Clone(), client(other, root)); serverErr == nil || clientErr == nil {
		t.Error("a certificate of the old CA was taken")
	}
	if _, _, _, clientErr := shake(t, creds, client(root, other)); clientErr == nil {
		t.Error("the server still shows its old certificate")
	}
}

func TestServersCredentialsAreNotForClients(t *testing.T) {
	root := newAuthority(t)
	creds := NewTrust(Terms{Certificate: root.server(), ClientCAs: root.pool()}).Credentials()
	if _, _, err := creds.ClientHandshake(t.Context(), "x", nil); err == nil {
		t.Error("a handshake as a client began")
	}
	if level := creds.Info().SecurityProtocol; level != credentials.NewTLS(nil).Info().SecurityProtocol {
		t.Errorf("protocol %q", level)
	}
}
