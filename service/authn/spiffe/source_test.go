package spiffe

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jotsmith/jotsmith/service/authn/spiffe/agenttest"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count says how many lines have all the words.
func (l *lines) count(words ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			n++
		}
	}
	return n
}

// world is an agent at its socket, and what a Source of it says.
type world struct {
	t       testing.TB
	socket  string
	agent   *agenttest.Agent
	log     lines
	changes atomic.Int64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, socket: filepath.Join(dir, "agent.sock")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log.String())
		}
		w.stop()
	})
	return w
}

// start runs an agent, which is silent at first.
func (w *world) start() {
	w.t.Helper()
	agent, err := agenttest.Listen(w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent = agent
}

func (w *world) stop() {
	w.t.Helper()
	if w.agent == nil {
		return
	}
	if err := w.agent.Close(); err != nil {
		w.t.Error(err)
	}
	w.agent = nil
}

func (w *world) config() Config {
	return Config{
		WorkloadAPI: "unix://" + w.socket, StartTimeout: 20 * time.Second,
		Log: slog.New(slog.NewJSONHandler(&w.log, nil)), OnChange: func() { w.changes.Add(1) },
	}
}

func (w *world) open(change ...func(*Config)) *Source {
	w.t.Helper()
	cfg := w.config()
	for _, c := range change {
		c(&cfg)
	}
	source, err := Open(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := source.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return source
}

func (w *world) hand(d *agenttest.Domain, leaves []*agenttest.Leaf, federated ...*agenttest.Domain) {
	w.t.Helper()
	w.agent.Hand(response(w.t, d, leaves, federated...))
}

func response(t testing.TB, d *agenttest.Domain, leaves []*agenttest.Leaf, federated ...*agenttest.Domain) *workload.X509SVIDResponse {
	t.Helper()
	resp, err := agenttest.Response(d, leaves, federated...)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestSourceFollowsTheAgent(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours, partner := domain(t, "example.org"), domain(t, "partner.example")
	first := issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{first})
	source := w.open(func(c *Config) { c.Settings.TrustDomains = []string{"example.org", "partner.example"} })
	trust := source.Trust()
	if !trust.Certificate().Equal(first.Certificate) {
		t.Error("another certificate than the first SVID")
	}
	if status := source.Status(); status.ID != "spiffe://example.org/jotsmith" || !status.NotAfter.Equal(first.NotAfter) ||
		strings.Join(status.TrustDomains, " ") != "example.org partner.example" || status.Fault == nil || status.Fault.Error() != "the agent has no bundle of partner.example" {
		t.Errorf("%+v", status)
	}
	if w.log.count("has no bundle of a trust domain", "partner.example") != 1 {
		t.Error("nothing is said about partner.example")
	}
	mine, his := issue(t, ours, "ci"), issue(t, partner, "ci")
	who, err := meet(t, trust, mine)
	if err != nil {
		t.Fatal(err)
	}
	known := func(why string, want bool) {
		t.Helper()
		if caller, err := who(); caller.Known() != want || (err == nil) != want {
			t.Errorf("%s: %v, %v", why, caller, err)
		}
	}
	known("at first", true)
	if _, err := meet(t, trust, his); err == nil {
		t.Error("a stranger is let in")
	}

	// A new SVID, and a bundle of the partner.
	second := issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{second}, partner)
	until(t, "the second SVID", func() bool { return trust.Certificate().Equal(second.Certificate) })
	known("with another SVID of the server", true)
	whoelse, err := meet(t, trust, his)
	if err != nil {
		t.Fatal(err)
	}
	if caller, err := whoelse(); err != nil || caller.String() != "uri:spiffe://partner.example/ci" {
		t.Errorf("%v, %v", caller, err)
	}

	// The CA is replaced: first both, then the new one alone.
	if err := ours.AddCA(); err != nil {
		t.Fatal(err)
	}
	third := issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{third}, partner)
	until(t, "the third SVID", func() bool { return trust.Certificate().Equal(third.Certificate) })
	known("with two CAs", true)
	ours.DropCA()
	changes := w.changes.Load()
	w.hand(ours, []*agenttest.Leaf{third}, partner)
	until(t, "the CA has gone", func() bool { caller, _ := who(); return !caller.Known() })
	until(t, "somebody is told", func() bool { return w.changes.Load() > changes })
	if _, err := who(); err == nil || !strings.Contains(err.Error(), "by the bundle of that trust domain") {
		t.Error(err)
	}
	if caller, err := whoelse(); err != nil || !caller.Known() {
		t.Errorf("%v, %v", caller, err)
	}

	// The federation ends.
	w.hand(ours, []*agenttest.Leaf{third})
	until(t, "the partner has gone", func() bool { caller, _ := whoelse(); return !caller.Known() })
	if n := w.agent.Streams(); n != 1 {
		t.Errorf("%d streams", n)
	}
	if w.log.count(`"SVID taken up"`) != 3 || w.log.count("has no bundle of a trust domain") != 2 {
		t.Error(w.log.String())
	}
}

func TestSourceOutlivesTheAgent(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours := domain(t, "example.org")
	first, second := issue(t, ours, "jotsmith"), issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{first})
	source := w.open()
	who, err := meet(t, source.Trust(), issue(t, ours, "ci"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(why string) {
		t.Helper()
		until(t, why, func() bool { return source.Status().Fault != nil })
		if status := source.Status(); status.ID == "" || !source.Trust().Certificate().Equal(first.Certificate) {
			t.Errorf("%s: %+v", why, status)
		}
		if caller, err := who(); err != nil || !caller.Known() {
			t.Errorf("%s: %v, %v", why, caller, err)
		}
		if _, err := meet(t, source.Trust(), issue(t, ours, "ci")); err != nil {
			t.Errorf("%s: a new connection: %v", why, err)
		}
	}
	w.stop()
	same("the agent is gone")
	if w.log.count(`"WARN"`, "no SVID from the SPIFFE agent; the last one goes on", `"expire_time"`, "see whether the agent runs") == 0 {
		t.Error("nothing is said about it")
	}
	w.start()
	w.hand(ours, []*agenttest.Leaf{first})
	until(t, "the agent is back", func() bool { return source.Status().Fault == nil })
	if w.log.count(`"INFO"`, "the SPIFFE agent is back", "away_for") != 1 {
		t.Error("nothing is said about it")
	}

	// Whatever it says, and with whatever code: the stream comes back.
	for _, code := range []codes.Code{codes.PermissionDenied, codes.InvalidArgument, codes.Canceled, codes.Internal, codes.Unimplemented, codes.OK} {
		w.agent.Deny(code, "no")
		if code == codes.OK { // which ends a stream too
			w.agent.Hand(&workload.X509SVIDResponse{})
		}
		same(code.String())
		w.hand(ours, []*agenttest.Leaf{first})
		until(t, "after "+code.String(), func() bool { return source.Status().Fault == nil })
	}
	if w.log.count("PermissionDenied: no; register an entry") != 1 {
		t.Error("no mend for PermissionDenied")
	}
	w.hand(ours, []*agenttest.Leaf{second})
	until(t, "the second SVID", func() bool { return source.Trust().Certificate().Equal(second.Certificate) })
}

// TestGarbageChangesNothing hands out what no SVID is, each time after a good
// response.
func TestGarbageChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours, other := domain(t, "example.org"), domain(t, "partner.example")
	good := issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{good})
	source := w.open()
	who, err := meet(t, source.Trust(), issue(t, ours, "ci"))
	if err != nil {
		t.Fatal(err)
	}
	key := issue(t, ours, "jotsmith").Key
	for name, change := range map[string]func(*workload.X509SVIDResponse){
		"nothing":                       func(r *workload.X509SVIDResponse) { r.Svids = nil },
		"an empty SVID":                 func(r *workload.X509SVIDResponse) { r.Svids[0] = &workload.X509SVID{} },
		"no certificate":                func(r *workload.X509SVIDResponse) { r.Svids[0].X509Svid = nil },
		"half a certificate":            func(r *workload.X509SVIDResponse) { r.Svids[0].X509Svid = r.Svids[0].GetX509Svid()[:100] },
		"bytes after it":                func(r *workload.X509SVIDResponse) { r.Svids[0].X509Svid = slices.Concat(good.Raw, []byte{0}) },
		"no key":                        func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = nil },
		"a key of nothing":              func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = []byte("-----BEGIN") },
		"another's key":                 func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = pkcs8(t, key) },
		"a bundle of nothing":           func(r *workload.X509SVIDResponse) { r.Svids[0].Bundle = []byte{0x30, 0x82} },
		"no SPIFFE ID":                  func(r *workload.X509SVIDResponse) { r.Svids[0].SpiffeId = "" },
		"a federated name of nothing":   func(r *workload.X509SVIDResponse) { r.FederatedBundles = map[string][]byte{"a b": other.Bundle()} },
		"a federated bundle of nothing": func(r *workload.X509SVIDResponse) { r.FederatedBundles = map[string][]byte{"spiffe://a": {1}} },
		"a bad SVID beside a good one":  func(r *workload.X509SVIDResponse) { r.Svids = append(r.GetSvids(), &workload.X509SVID{}) },
		"a certificate of a whole domain": func(r *workload.X509SVIDResponse) {
			leaf := issue(t, ours, "x", uris(t, "spiffe://example.org"))
			r.Svids[0].X509Svid, r.Svids[0].X509SvidKey = leaf.Raw, pkcs8(t, leaf.Key)
		},
		"an SVID that is over": func(r *workload.X509SVIDResponse) {
			leaf := issue(t, ours, "jotsmith", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
			r.Svids[0].X509Svid, r.Svids[0].X509SvidKey = leaf.Raw, pkcs8(t, leaf.Key)
		},
		"more than a message holds": func(r *workload.X509SVIDResponse) {
			r.FederatedBundles = map[string][]byte{"spiffe://a": bytes.Repeat(other.Bundle(), maxUpdate/len(other.Bundle())+1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := response(t, ours, []*agenttest.Leaf{good})
			change(bad)
			w.agent.Hand(bad)
			until(t, "the fault shows", func() bool { return source.Status().Fault != nil })
			if !source.Trust().Certificate().Equal(good.Certificate) {
				t.Error("another certificate")
			}
			if caller, err := who(); err != nil || !caller.Known() {
				t.Errorf("%v, %v", caller, err)
			}
			w.hand(ours, []*agenttest.Leaf{good})
			until(t, "a good response", func() bool { return source.Status().Fault == nil })
		})
	}
}

// A CA that is taken away is gone, even where nothing is left: the agent's word
// on whom to trust counts whole.
func TestWithoutABundleNobodyIsKnown(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours := domain(t, "example.org")
	leaf := issue(t, ours, "jotsmith")
	w.hand(ours, []*agenttest.Leaf{leaf})
	source := w.open()
	for name, change := range map[string]func(*workload.X509SVID){
		"an empty bundle":  func(s *workload.X509SVID) { s.Bundle = nil },
		"another's bundle": func(s *workload.X509SVID) { s.SpiffeId = "spiffe://partner.example/jotsmith" },
	} {
		who, err := meet(t, source.Trust(), issue(t, ours, "ci"))
		if err != nil {
			t.Fatal(err)
		}
		bad := response(t, ours, []*agenttest.Leaf{leaf})
		change(bad.GetSvids()[0])
		w.agent.Hand(bad)
		until(t, name, func() bool { caller, _ := who(); return !caller.Known() })
		if _, err := meet(t, source.Trust(), issue(t, ours, "ci")); err == nil {
			t.Errorf("%s: somebody is let in", name)
		}
		if fault := source.Status().Fault; fault == nil || fault.Error() != "the agent has no bundle of example.org" {
			t.Errorf("%s: %v", name, fault)
		}
		w.hand(ours, []*agenttest.Leaf{leaf})
		until(t, "after "+name, func() bool { caller, _ := who(); return caller.Known() })
	}
	if w.log.count(`"WARN"`, "has no bundle of a trust domain that is accepted") != 2 {
		t.Error(w.log.String())
	}
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOpenSaysWhyThereIsNoSVID(t *testing.T) {
	ours := domain(t, "example.org")
	for _, tt := range []struct {
		name  string
		setup func(*testing.T, *world) func(*Config)
		want  string
	}{
		{"nothing there", func(*testing.T, *world) func(*Config) { return nil }, "no such file or directory"},
		{"no agent any more", func(t *testing.T, w *world) func(*Config) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", w.socket)
			if err != nil {
				t.Fatal(err)
			}
			listener.(*net.UnixListener).SetUnlinkOnClose(false)
			_ = listener.Close()
			return nil
		}, "connection refused\"; see whether the agent runs, and whether this user may open the socket and its directory"},
		{"one that never answers", func(_ *testing.T, w *world) func(*Config) { w.start(); return nil }, "the agent does not answer"},
		{"a socket that nobody accepts at", func(t *testing.T, w *world) func(*Config) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", w.socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			return nil
		}, "the agent does not answer"},
		{"one that denies", func(_ *testing.T, w *world) func(*Config) {
			w.start()
			w.agent.Deny(codes.PermissionDenied, "no identity issued")
			return nil
		}, "PermissionDenied: no identity issued; register an entry whose selectors match this process"},
		{"one that says much", func(_ *testing.T, w *world) func(*Config) {
			w.start()
			w.agent.Deny(codes.Internal, strings.Repeat("x", 8000))
			return nil
		}, strings.Repeat("x", maxWords) + "...; see the agent's log"},
		{"another service", func(t *testing.T, w *world) func(*Config) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", w.socket)
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			grpc_health_v1.RegisterHealthServer(server, health.NewServer())
			done := make(chan error, 1)
			go func() { done <- server.Serve(listener) }()
			t.Cleanup(func() { server.Stop(); <-done })
			return nil
		}, "see whether the socket is that of a SPIFFE agent"},
		{"garbage", func(_ *testing.T, w *world) func(*Config) {
			w.start()
			w.agent.Hand(&workload.X509SVIDResponse{})
			return nil
		}, "sent what is no SVID: no SVIDs in response"},
		{"others than wanted", func(t *testing.T, w *world) func(*Config) {
			w.start()
			w.hand(ours, []*agenttest.Leaf{issue(t, ours, "a"), issue(t, ours, "b")})
			return func(c *Config) { c.Settings.ID = "spiffe://example.org/jotsmith" }
		}, "the agent hands out spiffe://example.org/a, spiffe://example.org/b and not spiffe://example.org/jotsmith; correct spiffe_id"},
		{"one that is over", func(t *testing.T, w *world) func(*Config) {
			w.start()
			w.hand(ours, []*agenttest.Leaf{issue(t, ours, "a", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })})
			return nil
		}, "see whether it reaches its server, and whether the clocks agree"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // each waits for its time to be over
			w := newWorld(t)
			cfg := w.config()
			if change := tt.setup(t, w); change != nil {
				change(&cfg)
			}
			cfg.StartTimeout = 2 * time.Second
			began := time.Now()
			source, err := Open(t.Context(), cfg)
			if err == nil || source != nil {
				t.Fatal("opened")
			}
			if took := time.Since(began); took < cfg.StartTimeout || took > cfg.StartTimeout+10*time.Second {
				t.Errorf("took %v", took)
			}
			start := fmt.Sprintf("no SVID from the SPIFFE Workload API unix://%s within 2s: ", w.socket)
			if !strings.HasPrefix(err.Error(), start) || !strings.Contains(err.Error(), tt.want) {
				t.Error(err)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if source, err := Open(ctx, w.config()); !errors.Is(err, context.Canceled) || source != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{WorkloadAPI: "npipe:x", StartTimeout: time.Minute, Log: w.config().Log}); err == nil || !strings.Contains(err.Error(), "npipe:x") {
		t.Error(err)
	}
}

// An agent that starts after the server is waited for.
func TestOpenWaitsForTheAgent(t *testing.T) {
	w := newWorld(t)
	ours := domain(t, "example.org")
	opened := make(chan error, 1)
	go func() {
		source, err := Open(t.Context(), w.config())
		if err == nil {
			err = source.Close()
		}
		opened <- err
	}()
	until(t, "the first attempt", func() bool { return w.log.count("no SVID from the SPIFFE agent yet") > 0 })
	w.start()
	w.hand(ours, []*agenttest.Leaf{issue(t, ours, "jotsmith")})
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestSettingsAreTakenUpWithoutANewStream(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours, partner := domain(t, "example.org"), domain(t, "partner.example")
	a, b := issue(t, ours, "a"), issue(t, ours, "b")
	w.hand(ours, []*agenttest.Leaf{a, b}, partner)
	source := w.open()
	who, err := meet(t, source.Trust(), issue(t, ours, "ci"))
	if err != nil {
		t.Fatal(err)
	}
	settings := Settings{ID: "spiffe://example.org/b", TrustDomains: []string{"partner.example"}}
	if err := source.Check(settings); err != nil {
		t.Fatal(err)
	}
	source.Set(settings)
	if status := source.Status(); status.ID != settings.ID || !source.Trust().Certificate().Equal(b.Certificate) || status.TrustDomains[0] != "partner.example" {
		t.Errorf("%+v", status)
	}
	if caller, err := who(); err == nil || caller.Known() {
		t.Errorf("%v, %v", caller, err)
	}
	if _, err := meet(t, source.Trust(), issue(t, partner, "ci")); err != nil {
		t.Error(err)
	}
	wrong := Settings{ID: "spiffe://example.org/c"}
	if err := source.Check(wrong); err == nil || !strings.Contains(err.Error(), "not spiffe://example.org/c") {
		t.Error(err)
	}
	// What the agent takes away later is no reason to refuse other settings.
	w.hand(ours, []*agenttest.Leaf{a}, partner)
	until(t, "the fault shows", func() bool { return source.Status().Fault != nil })
	if err := source.Check(Settings{ID: settings.ID}); err != nil {
		t.Error(err)
	}
	if !source.Trust().Certificate().Equal(b.Certificate) {
		t.Error("another SVID than the one that spiffe_id names")
	}
	source.Set(Settings{})
	if status := source.Status(); status.Fault != nil || !source.Trust().Certificate().Equal(a.Certificate) {
		t.Errorf("%+v", status)
	}
	if caller, err := who(); err != nil || !caller.Known() {
		t.Errorf("%v, %v", caller, err)
	}
	if n := w.agent.Streams(); n != 1 {
		t.Errorf("%d streams", n)
	}
}

func TestSourceLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.start()
	ours := domain(t, "example.org")
	w.hand(ours, []*agenttest.Leaf{issue(t, ours, "jotsmith")})
	before := runtime.NumGoroutine()
	for range 20 {
		source, err := Open(t.Context(), w.config())
		if err != nil {
			t.Fatal(err)
		}
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}
	until(t, "nothing is left", func() bool { return runtime.NumGoroutine() <= before })
}
