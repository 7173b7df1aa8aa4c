package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/servicetest"
	"github.com/jotsmith/jotsmith/service/signer"
)

// TestTenThousandCallersForOneColdTokenCostOneSign keeps the signature back
// until every call stands before the cache, so that none comes too late to
// have been a second one.
func TestTenThousandCallersForOneColdTokenCostOneSign(t *testing.T) {
	kms := startFakeKMS(t)
	gate := &gate{KeyBackend: kms.backend, open: make(chan struct{})}
	server := startHerdService(t, gate, kms.arn)
	h := newHerd(herdCallers)
	signs := func() int {
		gate.armed.Store(true) // from now on, for the first calls have their signature
		return kms.Calls(kmsfake.Sign)
	}
	s, err := h.run(t.Context(), server, signs)
	if err != nil {
		t.Fatal(err)
	}
	if !s.met() || s.callers != herdCallers {
		t.Errorf("%+v", *s)
	}
	t.Logf("%d callers on %d connections took %v", s.callers, s.connections, s.took)
}

// gate is a key store that signs for the herd once all stand before the cache.
type gate struct {
	backends.KeyBackend
	armed atomic.Bool
	asked atomic.Int64
	open  chan struct{}
}

// ask counts a call that is about to look into the cache.
func (g *gate) ask() {
	if g.armed.Load() && g.asked.Add(1) == herdCallers {
		close(g.open)
	}
}

func (g *gate) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	if g.armed.Load() {
		select {
		case <-g.open:
		case <-ctx.Done():
			return backends.Signature{}, ctx.Err()
		}
	}
	return g.KeyBackend.Sign(ctx, id, digest)
}

// fakeKMS is kmsfake with one key, and backends/awskms on it.
type fakeKMS struct {
	*kmsfake.Server
	backend *awskms.Backend
	arn     string
}

func startFakeKMS(t *testing.T) fakeKMS {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kms, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kms.Close() })
	backend, err := awskms.Open(t.Context(), kms.URI(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return fakeKMS{kms, backend, kms.AddKey(key)}
}

// startHerdService starts the service in this process over the gate, which the
// signer closes.
func startHerdService(t *testing.T, gate *gate, keyID string) target {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	keys, err := signer.New(signer.Config{
		Stores:  map[string]signer.Store{"kms": {Backend: gate, MaxInFlight: 64, MaxQueue: 1024, MinTime: 100 * time.Millisecond}},
		Keys:    []signer.Key{{Name: "key", Members: []signer.Member{{Store: "kms", ID: keyID}}, KID: "bench-1"}},
		Timeout: herdLimit, Random: rand.Reader, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens := reuse.New(reuse.Config{MaxBytes: 1 << 20, Random: rand.Reader, Log: log})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = keys.Run(ctx) })
	t.Cleanup(func() { // after the server has stopped
		cancel()
		running.Wait()
		tokens.Close()
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	minted, err := ledger.Open("", rand.Reader, log)
	if err != nil {
		t.Fatal(err)
	}
	profiles := servicetest.Profiles()[:1]
	profiles[0].Name, profiles[0].Reuse = reusedProfile, claims.Reuse{Mode: claims.UntilRefresh}
	uid, start := uint32(os.Getuid()), time.Now() //nolint:gosec // the kernel's own ids
	everyone := policy.Rule{Name: "herd", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{reusedProfile}}
	svc := service.New(service.Config{
		First: &service.Generation{
			ID: servicetest.Generation, Policy: policy.New([]policy.Rule{everyone}), Claims: claims.New(profiles, rand.Reader), Signer: keys,
		},
		// The monotonic clock is read once for each token, right before the cache.
		Clock:  clock.New(time.Now, func() time.Duration { gate.ask(); return time.Since(start) }),
		Tokens: tokens, Ledger: minted, Watches: service.WatchLimits{PerCaller: 1, Total: 1}, Random: rand.Reader,
	})
	server := servicetest.StartService(t, svc)
	return target{pid: os.Getpid(), address: "unix://" + server.Socket}
}

// TestOnlySignaturesAreCountedAndHeld sends two operations through the proxy.
func TestOnlySignaturesAreCountedAndHeld(t *testing.T) {
	var passed []string
	kms := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		passed = append(passed, r.Header.Get("X-Amz-Target")+" "+r.Host)
	}))
	defer kms.Close()
	held := 0
	proxy, err := startCounting(t.Context(), kms.URL, func() { held++ })
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for _, operation := range []string{"GetPublicKey", "Sign", "Sign"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, proxy.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "TrentService."+operation)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	host := " " + strings.TrimPrefix(proxy.url, "http://")
	want := "TrentService.GetPublicKey" + host + ",TrentService.Sign" + host + ",TrentService.Sign" + host
	if got := strings.Join(passed, ","); got != want || held != 2 || proxy.signs.Load() != 2 {
		t.Errorf("passed %s, held %d, counted %d", got, held, proxy.signs.Load())
	}
}
