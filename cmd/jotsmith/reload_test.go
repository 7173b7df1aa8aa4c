package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// reloadable is a server that runs, with its configuration in a directory.
type reloadable struct {
	dir    string
	server *server
	conn   *grpc.ClientConn
}

// reloadConfig is a configuration whose profile "svc" emits aud; more is
// appended.
func (r *reloadable) config(aud, more string) string {
	return fmt.Sprintf(`listeners: [{unix: {path: %s/s}}]
backends: {files: {uri: "file:%s"}}
keys: {k: {backend: files, id: k.pem, kid: kid-1}}
profiles:
  svc: {preset: jwt, key: k, reuse: {mode: never}, claims: {iss: {fixed: i}, aud: {fixed: %s}}}
grants: [{name: g, callers: [{unix: {uid: %d}}], profiles: [svc]}]
%s`, r.dir, r.dir, aud, os.Getuid(), more)
}

func (r *reloadable) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "jotsmith.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *reloadable) newKey(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(r.dir, name+".next")
	if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(r.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// startReloadable starts one whose configuration first returns; without it, an
// ordinary one.
func startReloadable(t *testing.T, first ...func(*reloadable) string) *reloadable {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &reloadable{dir: dir}
	r.newKey(t, "k.pem")
	text := r.config("first", "")
	for _, first := range first {
		text = first(r)
	}
	r.write(t, text)
	r.server = serveFile(t, filepath.Join(dir, "jotsmith.yaml"), servicetest.NewLog(t).Logger())
	r.conn, err = grpc.NewClient("unix://"+dir+"/s", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	if _, err := r.mint(grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	return r
}

// serveFile runs the server of a configuration file until the test ends.
func serveFile(t *testing.T, file string, log *slog.Logger) *server {
	t.Helper()
	s, _ := runFile(t, file, log)
	return s
}

// runFile runs the server of a configuration file until stop is called, or the
// test ends.
func runFile(t *testing.T, file string, log *slog.Logger) (s *server, stop func()) {
	t.Helper()
	cfg, err := config.Load(file, checkURI)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // which ends before what is cleaned up
	if s, err = wire(ctx, file, cfg, false, log); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, 64) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func (r *reloadable) mint(opts ...grpc.CallOption) (*jotsmithv1.MintTokenResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return jotsmithv1.NewTokenServiceClient(r.conn).MintToken(ctx, &jotsmithv1.MintTokenRequest{Profile: "svc"}, opts...)
}

func TestReloadTakesUpAChangeAndKeepsTheOldOneBeforeABadOne(t *testing.T) {
	r := startReloadable(t)
	first, err := r.mint()
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, r.config("second", ""))
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := r.mint()
	if err != nil || second.GetConfigGeneration() == first.GetConfigGeneration() {
		t.Fatalf("%v, %v", second, err)
	}
	for name, bad := range map[string]string{
		"not YAML":            "{",
		"another listener":    strings.Replace(r.config("third", ""), "/s}", "/other}", 1),
		"another limit":       r.config("third", "limits: {max_connections: 7}\n"),
		"a key that is gone":  strings.Replace(r.config("third", ""), "k.pem", "gone.pem", 1),
		"a store that is not": strings.Replace(r.config("third", ""), "file:"+r.dir, "file:/nowhere/at/all", 1),
	} {
		before := r.server.reloader.status.Load()
		r.write(t, bad)
		err := r.server.reloader.ask(t.Context())
		after := r.server.reloader.status.Load()
		if err == nil || after.Err == nil || after.Refused <= before.Refused || after.Generation != second.GetConfigGeneration() {
			t.Errorf("%s: %v, status %+v", name, err, after)
		}
		if again, err := r.mint(); err != nil || again.GetConfigGeneration() != second.GetConfigGeneration() {
			t.Errorf("after %s: %v, %v", name, again, err)
		}
	}
	r.write(t, r.config("fourth", ""))
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := r.server.reloader.status.Load(); after.Err != nil || after.Taken < 3 || after.Refused < 5 { // the changed file is noticed too
		t.Errorf("status %+v", after)
	}
}

func TestReloadReadsKeysAnewAndForgetsThoseThatAreGone(t *testing.T) {
	r := startReloadable(t)
	keys := jotsmithv1.NewKeyServiceClient(r.conn)
	before, err := keys.ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r.newKey(t, "k.pem") // the same configuration over another key
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := keys.ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{})
	if err != nil || bytes.Equal(before.GetKeys()[0].GetSpki(), after.GetKeys()[0].GetSpki()) {
		t.Errorf("still the old key, %v", err)
	}
	r.newKey(t, "other.pem")
	text := strings.NewReplacer("{k: {", "{other: {", "k.pem", "other.pem", "key: k,", "key: other,").Replace(r.config("second", ""))
	r.write(t, text)
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	health := healthv1.NewHealthClient(r.conn)
	for name, want := range map[string]healthv1.HealthCheckResponse_ServingStatus{
		"": healthv1.HealthCheckResponse_SERVING, "key/other": healthv1.HealthCheckResponse_SERVING,
		"key/k": healthv1.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		resp, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
		if err != nil || resp.GetStatus() != want {
			t.Errorf("%q: %v, %v", name, resp, err)
		}
	}
}

// A thousand reloads, every other one refused, under load: no call fails, each
// is of one generation, and nothing is left behind.
func TestReloadsUnderLoadFailNoCallAndLeakNothing(t *testing.T) {
	r := startReloadable(t)
	stop := make(chan struct{})
	var load sync.WaitGroup
	var calls atomic.Int64
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.mint(); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	reload := func(i int) {
		t.Helper()
		good := i%2 == 0
		if good {
			r.write(t, r.config(fmt.Sprintf("aud-%d", i), ""))
		} else {
			r.write(t, "listeners: [")
		}
		if err := r.server.reloader.ask(t.Context()); (err == nil) != good {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	for i := range 50 {
		reload(i)
	}
	before := held()
	began := time.Now()
	for i := range 500 {
		reload(i)
	}
	close(stop)
	load.Wait()
	for i := range 500 { // and with the machine to themselves, as fast as they go
		reload(i)
	}
	t.Logf("1,000 reloads in %v with %d calls", time.Since(began), calls.Load())
	for deadline := time.Now().Add(10 * time.Second); held() > before+16; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and descriptors, %d before", held(), before)
		}
	}
}

// held counts goroutines and open descriptors.
func held() int {
	descriptors, err := os.ReadDir("/dev/fd")
	if err != nil {
		return -1
	}
	return runtime.NumGoroutine() + len(descriptors)
}
