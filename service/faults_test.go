package service_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/authn/authntest"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// fault is a row of the table of identity and transport faults, which
// docs/security.md shows.
type fault struct {
	name string
	// do does it, over real connections, and returns what the other side gets.
	do   func(*world) string
	want string
	// record is the reason of the refusal that the audit record then has; "" is
	// none, and "minted" a token.
	record string
	// times are the server's bounds; zero is the real ones.
	times service.Times
	// within is how long it may take; 0 is patience.
	within time.Duration
	// memory is how many bytes the server may hold when do says look; 0 is not
	// looked at.
	memory int64
}

// faults is the table, by theme.
func faults() []fault {
	return slices.Concat(certificateFaults(), bearerFaults(), greetingFaults(), callFaults(), frameFaults(), floodFaults())
}

// TestFaults does to a server, over real connections, what it may meet: each
// row gets its answer in time, leaves its record, costs no signature, and a
// valid call right after it succeeds.
func TestFaults(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f.times)
			before := w.records()
			w.base, w.idle = heap(), runtime.NumGoroutine()
			start := time.Now()
			got := f.do(w)
			took := time.Since(start)
			if got != f.want {
				t.Errorf("the other side gets %q, want %q", got, f.want)
			}
			within := f.within
			if within == 0 {
				within = patience
			}
			if took > within {
				t.Errorf("it took %v", took)
			}
			if f.memory > 0 && (w.held > f.memory || w.looks == 0) {
				t.Errorf("the server holds %d KiB, after %d looks", w.held>>10, w.looks)
			}
			if w.routines > w.idle+2*servicetest.MaxStreams { // one for each call, and gRPC's own
				t.Errorf("%d goroutines, and %d before", w.routines, w.idle)
			}
			signed := w.Store.Signed()
			if err := w.mint(w.good); err != nil {
				t.Errorf("a valid call right after it: %v", err)
			}
			if w.Store.Signed() != signed+1 || f.record != "minted" && signed != w.signed {
				t.Errorf("%d signatures by it, and %d by a valid call", signed-w.signed, w.Store.Signed()-signed)
			}
			want := []string{"minted"}
			if f.record != "" {
				want = []string{f.record, "minted"}
			}
			if got := w.records()[len(before):]; !slices.Equal(got, want) {
				t.Errorf("the audit record has %q, want %q", got, want)
			}
			if t.Failed() {
				t.Logf("the log says\n%s", w.Log)
			}
		})
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", goroutines, runtime.NumGoroutine())
		}
	}
}

// TestFaultsAreDocumented compares the table with that of docs/security.md.
func TestFaultsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "\n| what comes | what it gets | audit record |\n|---|---|---|\n")
	if !ok {
		t.Fatal("docs/security.md has no table of faults")
	}
	text, _, _ = strings.Cut(text, "\n\n")
	var want []string
	for _, f := range faults() {
		record := f.record
		if record == "" {
			record = "none"
		}
		want = append(want, fmt.Sprintf("| %s | %s | %s |", f.name, f.want, record))
	}
	if got := strings.Split(text, "\n"); !slices.Equal(got, want) {
		t.Errorf("docs/security.md shows\n%s\nand the table is\n%s", text, strings.Join(want, "\n"))
	}
	if len(want) < 20 {
		t.Errorf("%d rows", len(want))
	}
}

// The callers of a world.
const (
	callerURI = "spiffe://example.org/ci"
	goodToken = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJnb29kIn0.c2ln" // whose holder has a grant
)

// world is a server with its listeners, and who calls it.
type world struct {
	*servicetest.Server
	t     *testing.T
	audit string
	now   func(time.Duration) // puts the server's clock ahead

	root, other *authntest.Authority // other's certificates are good for nothing at first
	trust       *authn.Trust
	mtls        string // address of the listener that wants certificates
	bearers     string // of the one for bearer tokens alone
	loopback    string // of the one in plaintext
	good        *tls.Config

	signed int   // before the fault
	base   int64 // bytes
	idle   int   // goroutines

	looks    int
	held     int64
	routines int
}

// soon is how long the times are that a row waits for.
const soon = 500 * time.Millisecond

// except returns the real times but for what set sets.
func except(set func(*service.Times)) service.Times {
	times := service.DefaultTimes()
	set(&times)
	return times
}

func shortHandshake() service.Times { return except(func(t *service.Times) { t.Handshake = soon }) }

func newWorld(t *testing.T, times service.Times) *world {
	t.Helper()
	w := &world{t: t, audit: filepath.Join(t.TempDir(), "audit.jsonl"), root: authntest.NewAuthority(t), other: authntest.NewAuthority(t)}
	log, err := audit.Open(audit.Config{Path: w.audit, Sync: audit.SyncNone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	var ahead time.Duration
	w.now = func(d time.Duration) { ahead = d }
	w.Server = servicetest.Start(t, servicetest.Options{
		Audit: log, Times: times, Wall: func() time.Time { return time.Now().Add(ahead) },
		Callers: []policy.Match{{URI: callerURI}, {Token: &policy.TokenMatch{Issuer: "ci", Sub: "somebody"}}},
	})
	in := *w.Service.First
	in.Bearers = bearers{goodToken, time.Now().Add(time.Hour)}
	w.Service.Replace(&in)
	w.trust = authn.NewTrust(authn.Terms{Certificate: w.root.Server(), ClientCAs: w.root.Pool()})
	w.mtls = w.ListenTCP(t, w.trust.Credentials(), times)
	w.bearers = w.ListenTCP(t, authn.NewTrust(authn.Terms{Certificate: w.root.Server()}).Credentials(), times)
	w.loopback = w.ListenTCP(t, authn.LoopbackCredentials(), times)
	w.good = w.client(w.root, func(*x509.Certificate) {})
	if err := w.mint(w.good); err != nil {
		t.Fatal(err)
	}
	w.signed = w.Store.Signed()
	return w
}

// client returns the side of TLS of a client with a certificate, which it sends
// even where the server's list of CAs lacks its own.
func (w *world) client(of *authntest.Authority, change func(*x509.Certificate)) *tls.Config {
	w.t.Helper()
	certificate := of.Issue(func(c *x509.Certificate) {
		c.URIs = []*url.URL{authntest.URI(w.t, callerURI)}
		change(c)
	})
	cfg := w.anonymous()
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return cfg
}

// anonymous returns the side of TLS of a client without a certificate.
func (w *world) anonymous() *tls.Config {
	return &tls.Config{RootCAs: w.root.Pool(), ServerName: "127.0.0.1", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
}

// mint mints a token by gRPC's own client over a connection of its own.
func (w *world) mint(cfg *tls.Config) error {
	conn, err := grpc.NewClient(w.mtls, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	_, err = jotsmithv1.NewTokenServiceClient(conn).MintToken(ctx, request())
	return err
}

// records returns what the audit record has: the outcome of each request.
func (w *world) records() []string {
	w.t.Helper()
	var all []string
	for r, err := range audit.Records(w.t.Context(), []string{w.audit}) {
		if err != nil {
			w.t.Fatal(err)
		}
		switch {
		case r.Outcome == string(audit.Minted):
			all = append(all, "minted")
		case r.Outcome != "":
			all = append(all, r.Reason)
		}
	}
	return all
}

// look takes note of what the server holds.
func (w *world) look() {
	w.looks++
	w.routines = max(w.routines, runtime.NumGoroutine())
	w.held = max(w.held, heap()-w.base)
}

// heap is how many bytes are in use, of this test and the server together.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
