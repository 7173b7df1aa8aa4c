package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// wantMetrics fails unless Prometheus would read each of these lines.
func wantMetrics(t *testing.T, s *servicetest.Server, lines ...string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Service.Metrics.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, line := range lines {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(w.Body.String()) {
			if strings.HasPrefix(line, "jotsmith_") && !strings.HasSuffix(line, " 0\n") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// eventually fails unless wrong finds nothing wrong within a while.
func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		found := wrong()
		if found == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(found)
		}
	}
}

func TestEveryMethodIsCounted(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	conn := s.Dial(t, nil)
	want := map[string]bool{}
	cfg := service.MetricsConfig()
	for _, desc := range []struct {
		service string
		methods []string
	}{
		{"TokenService", []string{"MintToken", "BatchMintTokens", "ExplainToken"}},
		{"ProfileService", []string{"ListProfiles"}},
		{"KeyService", []string{"ListKeys", "ListPublishedFiles"}},
	} {
		for _, method := range desc.methods {
			want[method] = true
			// An empty request is one that each of them counts, as what it may be.
			_ = conn.Invoke(t.Context(), "/jotsmith.v1."+desc.service+"/"+method, &jotsmithv1.ListKeysRequest{}, &jotsmithv1.ListKeysResponse{})
		}
	}
	for _, method := range cfg.Calls {
		if !want[method] {
			t.Errorf("this test does not call %s", method)
		}
	}
	stream, err := s.Tokens(t).WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("a watch of nothing")
	}
	wantMetrics(t, s,
		`jotsmith_calls_total{code="PermissionDenied",method="MintToken"} 1`,
		`jotsmith_calls_total{code="InvalidArgument",method="BatchMintTokens"} 1`,
		`jotsmith_calls_total{code="PermissionDenied",method="ExplainToken"} 1`,
		`jotsmith_calls_total{code="OK",method="ListProfiles"} 1`,
		`jotsmith_calls_total{code="OK",method="ListKeys"} 1`,
		`jotsmith_calls_total{code="OK",method="ListPublishedFiles"} 1`,
		`jotsmith_calls_total{code="PermissionDenied",method="WatchToken"} 1`,
		`jotsmith_failures_total{reason="NOT_GRANTED"} 3`,
		`jotsmith_failures_total{reason="INVALID_REQUEST"} 1`,
		`jotsmith_watches_open 0`,
	)
}

func TestItemsOfBatchesAndFaultsOfAStoreAreCounted(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	batch := func() {
		t.Helper()
		_, err := tokens.BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{
			request(), {Profile: "no such"}, request(), {Profile: servicetest.Profile},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	batch()
	s.Store.FailWith(backends.ErrThrottled)
	batch()
	wantMetrics(t, s,
		`jotsmith_calls_total{code="OK",method="BatchMintTokens"} 2`,
		`jotsmith_tokens_total{profile="app",reused="false"} 2`,
		`jotsmith_failures_total{reason="NOT_GRANTED"} 2`,
		`jotsmith_failures_total{reason="INVALID_REQUEST"} 2`,
		`jotsmith_failures_total{reason="BACKEND_THROTTLED"} 2`,
		`jotsmith_backend_signatures_total{backend="store"} 3`, // with the canary
		`jotsmith_backend_errors_total{backend="store",kind="throttled"} 2`,
		`jotsmith_backend_signature_duration_seconds_count{backend="store"} 5`,
		`jotsmith_key_healthy{key="key"} 1`,
	)
	s.Store.FailWith(backends.ErrSignatureInvalid)
	batch()
	wantMetrics(t, s, `jotsmith_key_healthy{key="key"} 0`, `jotsmith_key_latched{key="key"} 1`)
}

func TestCallsUnderWayAndThoseThatAQuotaRefusedAreCounted(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{MaxInFlight: 1, Quota: policy.Quota{PerMinute: 1, Burst: 2}})
	tokens := s.Tokens(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	s.Store.Fail(func(context.Context, string, string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	answers := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := tokens.MintToken(t.Context(), request())
			answers <- err
		}()
	}
	<-entered
	eventually(t, func() string {
		if b := s.Service.State().Backends[0]; b.InFlight != 1 || b.Waiting != 1 {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
	wantMetrics(t, s,
		`jotsmith_calls_in_flight 2`,
		`jotsmith_backend_signatures_in_flight{backend="store"} 1`,
		`jotsmith_backend_calls_waiting{backend="store"} 1`,
	)
	close(release)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if _, err := tokens.MintToken(t.Context(), request()); seen(t, err).reason != "QUOTA_EXCEEDED" {
		t.Error(err)
	}
	wantMetrics(t, s,
		`jotsmith_quota_refusals_total 1`,
		`jotsmith_failures_total{reason="QUOTA_EXCEEDED"} 1`,
		`jotsmith_calls_in_flight 0`,
		`jotsmith_backend_signatures_in_flight{backend="store"} 0`,
	)
}
