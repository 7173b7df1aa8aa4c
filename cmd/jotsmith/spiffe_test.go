package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn/spiffe/agenttest"
)

// spiffeWorld is a server whose TLS listener follows an agent.
type spiffeWorld struct {
	t       *testing.T
	dir     string
	address string
	server  *server
	agent   *agenttest.Agent
	ours    *agenttest.Domain
	partner *agenttest.Domain
}

func (w *spiffeWorld) config(more string) string {
	return fmt.Sprintf(`listeners: [{tcp: {address: %q, spiffe: {workload_api: "unix://%s/agent", start_timeout: 20s%s}}}]
backends: {files: {uri: "file:%s"}}
keys: {k: {backend: files, id: k.pem, kid: kid-1}}
profiles:
  svc: {preset: jwt, key: k, reuse: {mode: never}, claims: {iss: {fixed: i}, aud: {fixed: a}}}
  kept: {preset: jwt, key: k, claims: {iss: {fixed: i}, aud: {fixed: b}}}
grants:
  - {name: ours, callers: [{mtls: {uri: "spiffe://example.org/ci"}}], profiles: [svc, kept]}
  - {name: theirs, callers: [{mtls: {uri_prefix: "spiffe://partner.example/"}}], profiles: [svc]}
`, w.address, w.dir, more, w.dir)
}

func (w *spiffeWorld) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "jotsmith.yaml"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func startSPIFFE(t *testing.T) *spiffeWorld {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &spiffeWorld{t: t, dir: dir, address: "127.0.0.1:" + freePort(), ours: newDomain(t, "example.org"), partner: newDomain(t, "partner.example")}
	w.listen()
	t.Cleanup(func() { w.agent.Close() })
	w.hand(issued(t, w.ours, "jotsmith"))
	(&reloadable{dir: dir}).newKey(t, "k.pem")
	w.write(w.config(", trust_domains: [example.org, partner.example]"))
	w.server = serveFile(t, filepath.Join(dir, "jotsmith.yaml"), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	return w
}

func (w *spiffeWorld) listen() {
	w.t.Helper()
	var err error
	if w.agent, err = agenttest.Listen(filepath.Join(w.dir, "agent")); err != nil {
		w.t.Fatal(err)
	}
}

// hand has the agent hand out the server's SVID, with both bundles.
func (w *spiffeWorld) hand(own *agenttest.Leaf) {
	w.t.Helper()
	resp, err := agenttest.Response(w.ours, []*agenttest.Leaf{own}, w.partner)
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent.Hand(resp)
}

// shows waits until new connections see a certificate.
func (w *spiffeWorld) shows(leaf *agenttest.Leaf) {
	w.t.Helper()
	shortly(w.t, "the new SVID", func() bool { return w.server.reloader.trusts[0].Certificate().Equal(leaf.Certificate) })
}

// dial connects as go-spiffe does: the server must be spiffe://example.org/jotsmith.
func (w *spiffeWorld) dial(client *agenttest.Leaf) *grpc.ClientConn {
	w.t.Helper()
	bundle, err := x509bundle.ParseRaw(spiffeid.RequireTrustDomainFromString(w.ours.Name), w.ours.Bundle())
	if err != nil {
		w.t.Fatal(err)
	}
	svid := &x509svid.SVID{Certificates: []*x509.Certificate{client.Certificate}, PrivateKey: client.Key}
	server := tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://example.org/jotsmith"))
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(credentials.NewTLS(tlsconfig.MTLSClientConfig(svid, bundle, server))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func mintOver(conn *grpc.ClientConn, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := jotsmithv1.NewTokenServiceClient(conn).MintToken(ctx, &jotsmithv1.MintTokenRequest{Profile: "svc"}, opts...)
	if err == nil && !strings.HasPrefix(resp.GetToken(), "eyJ") {
		return errors.New("no token")
	}
	return err
}

func newDomain(t *testing.T, name string) *agenttest.Domain {
	t.Helper()
	d, err := agenttest.NewDomain(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func issued(t *testing.T, d *agenttest.Domain, path string, changes ...func(*x509.Certificate)) *agenttest.Leaf {
	t.Helper()
	leaf, err := d.Issue(path, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func shortly(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestCallersAreKnownByTheirSVIDs(t *testing.T) {
	w := startSPIFFE(t)
	stranger := newDomain(t, "stranger.example")
	for _, tt := range []struct {
		name   string
		client *agenttest.Leaf
		code   codes.Code
	}{
		{"ours", issued(t, w.ours, "ci"), codes.OK},
		{"the partner's", issued(t, w.partner, "build/1"), codes.OK},
		{"without a grant", issued(t, w.ours, "web"), codes.PermissionDenied},
		{"ours, signed by the partner", issued(t, w.partner, "ci", named(t, "spiffe://example.org/ci")), codes.Unauthenticated},
		{"the partner's, signed by us", issued(t, w.ours, "build/1", named(t, "spiffe://partner.example/build/1")), codes.Unauthenticated},
		{"two URIs", issued(t, w.ours, "ci", named(t, "spiffe://example.org/ci", "spiffe://example.org/web")), codes.Unauthenticated},
		{"a DNS name alone", issued(t, w.ours, "ci", func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"example.org"} }), codes.Unauthenticated},
		{"a stranger's", issued(t, stranger, "ci", named(t, "spiffe://example.org/ci")), codes.Unavailable},
		{"one that is over", issued(t, w.ours, "ci", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := mintOver(w.dial(tt.client), grpc.WaitForReady(tt.code == codes.OK)); status.Code(err) != tt.code {
				t.Errorf("%v, want %v", err, tt.code)
			}
		})
	}
	if err := mintOver(w.dial(issued(t, w.ours, "ci"))); err != nil {
		t.Error(err)
	}
}

func named(t *testing.T, ids ...string) func(*x509.Certificate) {
	t.Helper()
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, id := range ids {
			c.URIs = append(c.URIs, spiffeid.RequireFromString(id).URL())
		}
	}
}

// Fifty rotations under load: no call fails, on connections old and new.
func TestRotationDropsNoCall(t *testing.T) {
	w := startSPIFFE(t)
	client := issued(t, w.ours, "ci")
	conn := w.dial(client)
	if err := mintOver(conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	var calls atomic.Int64
	for i := range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				over := conn
				if i == 0 {
					over = w.dial(client)
				}
				err := mintOver(over)
				if i == 0 {
					err = errors.Join(err, over.Close())
				}
				if err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 50 {
		next := issued(t, w.ours, "jotsmith")
		w.hand(next)
		w.shows(next)
	}
	close(stop)
	load.Wait()
	t.Logf("%d calls", calls.Load())
	if n := w.agent.Streams(); n != 1 || calls.Load() == 0 {
		t.Errorf("%d streams, %d calls", n, calls.Load())
	}
}

func TestConnectionsOfACAThatIsGoneAreRefusedFromTheNextCallOn(t *testing.T) {
	w := startSPIFFE(t)
	conn := w.dial(issued(t, w.ours, "ci"))
	theirs := w.dial(issued(t, w.partner, "build"))
	if err := errors.Join(mintOver(conn, grpc.WaitForReady(true)), mintOver(theirs)); err != nil {
		t.Fatal(err)
	}
	watch, err := jotsmithv1.NewTokenServiceClient(conn).WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{
		Request: &jotsmithv1.MintTokenRequest{Profile: "kept"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := w.ours.AddCA(); err != nil {
		t.Fatal(err)
	}
	w.ours.DropCA()
	next := issued(t, w.ours, "jotsmith")
	w.hand(next)
	w.shows(next)
	if err := mintOver(conn); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the open connection: %v", err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the open watch: %v", err)
	}
	if err := errors.Join(mintOver(theirs), mintOver(w.dial(issued(t, w.ours, "ci")))); err != nil {
		t.Error(err)
	}
}

func TestServerOutlivesItsAgent(t *testing.T) {
	w := startSPIFFE(t)
	client := issued(t, w.ours, "ci")
	conn := w.dial(client)
	if err := mintOver(conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if err := w.agent.Close(); err != nil {
		t.Fatal(err)
	}
	fault := func() error { return w.server.reloader.certificates()[0].Err }
	shortly(t, "the status says so", func() bool { return fault() != nil })
	if err := errors.Join(mintOver(conn), mintOver(w.dial(client))); err != nil {
		t.Error(err)
	}
	if err := w.server.reloader.ask(t.Context()); err != nil { // nor does a reload need it
		t.Error(err)
	}
	w.listen()
	next := issued(t, w.ours, "jotsmith")
	w.hand(next)
	w.shows(next)
	shortly(t, "all is well", func() bool { return fault() == nil })
	if err := errors.Join(mintOver(conn), mintOver(w.dial(client))); err != nil {
		t.Error(err)
	}
}

func TestReloadKeepsTheStreamFromTheAgent(t *testing.T) {
	w := startSPIFFE(t)
	theirs := w.dial(issued(t, w.partner, "build"))
	if err := mintOver(theirs, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	reload := func(more string) error {
		w.write(w.config(more))
		return w.server.reloader.ask(t.Context())
	}
	if err := reload(", trust_domains: [partner.example, example.org]"); err != nil {
		t.Fatal(err)
	}
	if err := mintOver(theirs); err != nil {
		t.Error(err)
	}
	if err := reload(""); err != nil { // the server's own trust domain alone
		t.Fatal(err)
	}
	if err := mintOver(theirs); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if err := reload(", trust_domains: [partner.example, example.org]"); err != nil {
		t.Fatal(err)
	}
	if err := mintOver(theirs); err != nil {
		t.Error(err)
	}
	err := reload(", spiffe_id: spiffe://example.org/other")
	if want := "the agent hands out spiffe://example.org/jotsmith and not spiffe://example.org/other"; err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
	w.write(strings.Replace(w.config(""), "/agent", "/another", 1))
	if err := w.server.reloader.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "a change of listeners needs a restart") {
		t.Error(err)
	}
	if n := w.agent.Streams(); n != 1 {
		t.Errorf("%d streams", n)
	}
}
