package conformance_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/clients/conformance/stage"
	"github.com/jotsmith/jotsmith/clients/conformance/standin"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// consumer is what programs send tokens to: the stand-in for App Store Connect, a
// server elsewhere that it redirects to, and a gRPC server.
type consumer struct {
	web, elsewhere *httptest.Server
	guarded        string // the gRPC server's address

	requests atomic.Int32 // of the stand-in
	refuse   atomic.Bool  // the stand-in takes no token at all
}

func newConsumer(t *testing.T, server *stage.Server) *consumer {
	t.Helper()
	c := &consumer{}
	keys := func() (map[string]*ecdsa.PublicKey, error) {
		keys, _, err := server.PublicKeys(t.Context())
		return keys, err
	}
	apple := standin.New(standin.Config{Issuer: stage.Issuer, Now: time.Now, Keys: keys})
	c.elsewhere = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]bool{"authorized": r.Header.Get("Authorization") != ""})
	}))
	t.Cleanup(c.elsewhere.Close)
	c.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		switch {
		case c.refuse.Load():
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/elsewhere":
			http.Redirect(w, r, c.elsewhere.URL, http.StatusFound)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/v1/apps", http.StatusFound)
		default:
			apple.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(c.web.Close)
	c.guarded = guard(t, server, keys)
	return c
}

// guardedService answers whoever has a token that a key verifies.
type guardedService struct {
	jotsmithv1.UnimplementedKeyServiceServer
	keys func() (map[string]*ecdsa.PublicKey, error)
}

func (g *guardedService) ListKeys(ctx context.Context, _ *jotsmithv1.ListKeysRequest) (*jotsmithv1.ListKeysResponse, error) {
	sent := metadata.ValueFromIncomingContext(ctx, "authorization")
	keys, err := g.keys()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		for _, header := range sent {
			text, _ := strings.CutPrefix(header, "Bearer ")
			parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				continue
			}
			if _, err := parsed.Verify(key); err == nil && len(sent) == 1 {
				return &jotsmithv1.ListKeysResponse{}, nil
			}
		}
	}
	return nil, status.Error(codes.Unauthenticated, "no token")
}

// guard starts a gRPC server over TLS, with the certificate of the stage's server,
// and returns its address.
func guard(t *testing.T, server *stage.Server, keys func() (map[string]*ecdsa.PublicKey, error)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	certificate := server.Clients.Issue(func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})))
	jotsmithv1.RegisterKeyServiceServer(g, &guardedService{keys: keys})
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		<-served
	})
	return listener.Addr().String()
}
