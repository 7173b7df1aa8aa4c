package authn

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

// whoami answers each health check with NOT_FOUND and who has asked, or
// UNAUTHENTICATED and why nobody has.
type whoami struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (whoami) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	caller, err := FromContext(ctx)
	if err != nil {
		if caller.Known() {
			return nil, status.Error(codes.Internal, "a caller and a reason against him")
		}
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return nil, status.Error(codes.NotFound, caller.String())
}

// serve runs whoami on a listener until the test ends.
func serve(t *testing.T, listener net.Listener, creds credentials.TransportCredentials) string {
	t.Helper()
	server := grpc.NewServer(grpc.Creds(creds))
	grpc_health_v1.RegisterHealthServer(server, whoami{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// ask returns what whoami answers at a target.
func ask(t *testing.T, target string, creds credentials.TransportCredentials) *status.Status {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing to lose
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return status.Convert(err)
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestTLSCallerIsKnownByTheNamesOfHisCertificate(t *testing.T) {
	root := authntest.NewAuthority(t)
	address := serve(t, listenTCP(t), NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()}).Credentials())
	const (
		noName = "client certificate has no URI, DNS or e-mail name"
		many   = "client certificate has more than one URI name"
	)
	for _, tt := range []struct {
		name   string
		change func(*x509.Certificate)
		code   codes.Code
		want   string
	}{
		{"a URI", func(c *x509.Certificate) { c.URIs = []*url.URL{authntest.URI(t, "spiffe://example.org/ci")} }, codes.NotFound, "uri:spiffe://example.org/ci"},
		{"a URI with escapes", func(c *x509.Certificate) { c.URIs = []*url.URL{authntest.URI(t, "spiffe://example.org/a%2Fb")} }, codes.NotFound, "uri:spiffe://example.org/a%2Fb"},
		{"a URI and others", func(c *x509.Certificate) {
			c.URIs = []*url.URL{authntest.URI(t, "spiffe://example.org/ci")}
			c.DNSNames, c.EmailAddresses = []string{"ci.example.org"}, []string{"ci@example.org"}
		}, codes.NotFound, "uri:spiffe://example.org/ci"},
		{"a DNS name", func(c *x509.Certificate) { c.DNSNames = []string{"CI.example.org", "b"} }, codes.NotFound, "dns:ci.example.org"},
		{"an e-mail address", func(c *x509.Certificate) { c.EmailAddresses = []string{"Ci@example.org"} }, codes.NotFound, "email:Ci@example.org"},
		{"a DNS name and an e-mail address", func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses = []string{"ci.example.org"}, []string{"ci@example.org"}
		}, codes.NotFound, "dns:ci.example.org"},

		{"two URIs", func(c *x509.Certificate) {
			c.URIs = []*url.URL{authntest.URI(t, "spiffe://example.org/a"), authntest.URI(t, "spiffe://example.org/b")}
		}, codes.Unauthenticated, many},
		{"the same URI twice", func(c *x509.Certificate) {
			c.URIs = []*url.URL{authntest.URI(t, "spiffe://example.org/a"), authntest.URI(t, "spiffe://example.org/a")}
		}, codes.Unauthenticated, many},
		{"a common name alone", func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "ci.example.org"} }, codes.Unauthenticated, noName},
		{"an e-mail address in the subject", func(c *x509.Certificate) {
			c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{1, 2, 840, 113549, 1, 9, 1}, Value: "ci@example.org"}}}
		}, codes.Unauthenticated, noName},
		{"an IP address alone", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, codes.Unauthenticated, noName},
		{"no names", func(*x509.Certificate) {}, codes.Unauthenticated, noName},
		{"an empty URI", func(c *x509.Certificate) { c.URIs = []*url.URL{{}} }, codes.Unauthenticated, noName},
		{"an empty URI and a DNS name", func(c *x509.Certificate) {
			c.URIs, c.DNSNames = []*url.URL{{}}, []string{"ci.example.org"}
		}, codes.Unauthenticated, noName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			creds := credentials.NewTLS(&tls.Config{RootCAs: root.Pool(), Certificates: []tls.Certificate{root.Issue(tt.change)}})
			if got := ask(t, address, creds); got.Code() != tt.code || got.Message() != tt.want {
				t.Errorf("%v, want %v %s", got, tt.code, tt.want)
			}
		})
	}

	t.Run("by an intermediate", func(t *testing.T) {
		leaf := root.Intermediate().Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })
		creds := credentials.NewTLS(&tls.Config{RootCAs: root.Pool(), Certificates: []tls.Certificate{leaf}})
		if got := ask(t, address, creds); got.Code() != codes.NotFound || got.Message() != "dns:ci.example.org" {
			t.Error(got)
		}
	})
	t.Run("without TLS", func(t *testing.T) {
		if got := ask(t, address, insecure.NewCredentials()); got.Code() != codes.Unavailable {
			t.Error(got)
		}
	})
}

// A certificate with names of no characters must not bring the server down.
func TestFromCertificatePassesOverEmptyNames(t *testing.T) {
	caller, err := FromCertificate(&x509.Certificate{DNSNames: []string{"", "b"}, EmailAddresses: []string{""}})
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := caller.Names(); len(names.DNS) != 1 || names.DNS[0] != "b" || names.Emails != nil {
		t.Errorf("%+v", names)
	}
	for _, leaf := range []*x509.Certificate{
		{}, {URIs: []*url.URL{{}}}, {DNSNames: []string{""}}, {EmailAddresses: []string{""}}, {DNSNames: []string{""}, EmailAddresses: []string{"", ""}},
	} {
		if caller, err := FromCertificate(leaf); err == nil || caller.Known() {
			t.Errorf("%v, %v", caller, err)
		}
	}
}

// shake runs a handshake over TCP. The client writes a byte and waits for one,
// so that it has seen all that the server's side of the handshake says.
func shake(t *testing.T, creds credentials.TransportCredentials, client *tls.Config) (info credentials.AuthInfo, serverErr error, state tls.ConnectionState, clientErr error) {
	t.Helper()
	listener := listenTCP(t)
	defer listener.Close() //nolint:errcheck // nothing to lose
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := listener.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer raw.Close() //nolint:errcheck // nothing to lose
		conn, i, err := creds.ServerHandshake(raw)
		if info, serverErr = i, err; err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, conn, 1)
		_, _ = conn.Write([]byte{1})
	}()
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close() //nolint:errcheck // nothing to lose
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	client = client.Clone()
	client.NextProtos, client.ServerName = []string{"h2"}, "127.0.0.1"
	conn := tls.Client(raw, client)
	_, clientErr = conn.Write([]byte{1})
	if clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 1))
	}
	<-done
	return info, serverErr, conn.ConnectionState(), clientErr
}

func TestTLSHandshakeFails(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	named := func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} }
	good := root.Issue(named)
	for _, tt := range []struct {
		name   string
		client *tls.Config
		want   string
	}{
		{"without a client certificate", &tls.Config{}, "client didn't provide a certificate"},
		{"with a certificate of another CA", &tls.Config{Certificates: []tls.Certificate{other.Issue(named)}}, "certificate signed by unknown authority"},
		{"with an expired certificate", &tls.Config{Certificates: []tls.Certificate{root.Issue(func(c *x509.Certificate) {
			named(c)
			c.NotAfter = time.Now().Add(-time.Minute)
		})}}, "certificate has expired or is not yet valid"},
		{"with a certificate that is not valid yet", &tls.Config{Certificates: []tls.Certificate{root.Issue(func(c *x509.Certificate) {
			named(c)
			c.NotBefore = time.Now().Add(time.Minute)
		})}}, "certificate has expired or is not yet valid"},
		{"with a server's certificate", &tls.Config{Certificates: []tls.Certificate{root.Issue(func(c *x509.Certificate) {
			named(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})}}, "incompatible key usage"},
		{"with a certificate that a leaf has signed", &tls.Config{Certificates: []tls.Certificate{
			root.Below(good).Issue(named),
		}}, "unknown authority"},
		{"with another's certificate", &tls.Config{Certificates: []tls.Certificate{{Certificate: good.Certificate, PrivateKey: authntest.NewKey(t)}}}, "invalid signature by the client certificate"},
		{"by TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, "unsupported versions"}, //nolint:gosec // to be refused
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.RootCAs = root.Pool()
			// What the client does is not the server's to rely on: send the
			// certificate even where the server's list of CAs lacks it.
			if len(tt.client.Certificates) > 0 {
				certificate := tt.client.Certificates[0]
				tt.client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
			}
			info, serverErr, _, clientErr := shake(t, NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()}).Credentials(), tt.client)
			if serverErr == nil || info != nil {
				t.Fatalf("let in as %v", info)
			}
			if !strings.Contains(serverErr.Error(), tt.want) {
				t.Errorf("%v, want %s", serverErr, tt.want)
			}
			if clientErr == nil {
				t.Error("the client was answered")
			}
		})
	}
}

// sessions counts what a server gives a client for resumption.
type sessions struct {
	tls.ClientSessionCache
	given int
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	if state != nil {
		s.given++
	}
	s.ClientSessionCache.Put(key, state)
}

func TestTLSSessionsAreNotResumed(t *testing.T) {
	root := authntest.NewAuthority(t)
	creds := NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()}).Credentials()
	cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	client := &tls.Config{
		RootCAs: root.Pool(), ClientSessionCache: cache,
		Certificates: []tls.Certificate{root.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })},
	}
	for range 2 {
		_, serverErr, state, clientErr := shake(t, creds.Clone(), client)
		if serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		if state.DidResume || state.Version != tls.VersionTLS13 {
			t.Errorf("resumed: %v, version %x", state.DidResume, state.Version)
		}
	}
	if cache.given != 0 {
		t.Errorf("%d tickets", cache.given)
	}
}

func TestTLSCallerExpiresWithHisCertificate(t *testing.T) {
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	caller, err := FromCertificate(&x509.Certificate{DNSNames: []string{"a"}, NotAfter: end})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]bool{end.Add(-time.Second): false, end: false, end.Add(1): true, end.AddDate(1, 0, 0): true} {
		if caller.Expired(at) != want {
			t.Errorf("at %v: %v", at, !want)
		}
	}
	if FromUnix(Unix{}).Expired(end) || (Caller{}).Expired(end) {
		t.Error("a caller without a certificate expires")
	}
}

func TestLabels(t *testing.T) {
	for want, caller := range map[string]Caller{
		"nobody":                          {},
		"unix:uid=0,gid=0":                FromUnix(Unix{}),
		"unix:uid=1000,gid=4294967295":    FromUnix(Unix{UID: 1000, GID: 1<<32 - 1}),
		"uri:spiffe://example.org/ci?a=b": certified(t, &x509.Certificate{URIs: []*url.URL{authntest.URI(t, "spiffe://example.org/ci?a=b")}}),
		"dns:a.example.org":               certified(t, &x509.Certificate{DNSNames: []string{"A.example.org", "b"}, EmailAddresses: []string{"c"}}),
		"email:c@example.org":             certified(t, &x509.Certificate{EmailAddresses: []string{"c@example.org", "d"}}),
	} {
		if caller.String() != want || caller.LogValue().String() != want {
			t.Errorf("%q, %q, want %q", caller, caller.LogValue(), want)
		}
	}
}

func certified(t *testing.T, leaf *x509.Certificate) Caller {
	t.Helper()
	caller, err := FromCertificate(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func TestNamesDoNotChangeWithTheCertificate(t *testing.T) {
	leaf := &x509.Certificate{EmailAddresses: []string{"a@example.org"}, Raw: bytes.Repeat([]byte{1}, 8)}
	caller := certified(t, leaf)
	leaf.EmailAddresses[0] = "b@example.org"
	if names, _ := caller.Names(); names.Emails[0] != "a@example.org" {
		t.Errorf("%v", names)
	}
}
