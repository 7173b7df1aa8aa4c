package jotsmith_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmith "github.com/jotsmith/jotsmith/clients/go"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// asker sends a GET with a Transport and returns the status and the body.
func asker(t *testing.T, client *jotsmith.Client, url string) (int, string) {
	t.Helper()
	web := http.Client{Transport: client.Transport(nil, servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`))}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestARefusalIsNotAskedForTwiceWithoutAnotherToken(t *testing.T) {
	for mode, requests := range map[claims.Mode]int32{claims.UntilRefresh: 1, claims.Never: 1} {
		s := servicetest.Start(t, servicetest.Options{Profiles: reusing(mode)})
		client := connect(t, s.Socket)
		var seen atomic.Int32
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			seen.Add(1)
			http.Error(w, "no", http.StatusUnauthorized)
		}))
		t.Cleanup(api.Close)
		if code, text := asker(t, client, api.URL); code != http.StatusUnauthorized || !strings.Contains(text, "no") || seen.Load() != requests {
			t.Errorf("%s: %d %q after %d requests", mode, code, text, seen.Load())
		}
	}
}

func TestARedirectElsewhereGetsNoToken(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: reusing(claims.UntilRefresh)})
	client := connect(t, s.Socket)
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) })
	elsewhere := httptest.NewServer(echo)
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.Handle("/here", echo)
	mux.Handle("/stay", http.RedirectHandler("/here", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler(elsewhere.URL, http.StatusFound))
	api := httptest.NewServer(mux)
	defer api.Close()
	for path, want := range map[string]bool{"/here": true, "/stay": true, "/away": false} {
		if _, text := asker(t, client, api.URL+path); strings.HasPrefix(text, "Bearer eyJ") != want {
			t.Errorf("%s: a token arrived: %v", path, !want)
		}
	}
}

// closing is a body that says whether it was closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}

func TestWithoutATokenThereIsNoRequest(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	client := connect(t, s.Socket)
	body := &closing{Reader: strings.NewReader("x")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Transport(nil, servicetest.Forbidden).RoundTrip(req)
	if resp != nil {
		resp.Body.Close()
	}
	if e, ok := errors.AsType[*jotsmith.Error](err); !ok || e.Reason != "NOT_GRANTED" || !body.closed.Load() {
		t.Errorf("%v, closed %v", err, body.closed.Load())
	}
}

func TestSourcesOfTokensForOtherLibraries(t *testing.T) {
	for _, mode := range []claims.Mode{claims.UntilRefresh, claims.Never} {
		s := servicetest.Start(t, servicetest.Options{Profiles: reusing(mode)})
		client := connect(t, s.Socket)
		option := jotsmith.Claims(`{"sub":"a"}`)
		source := oauth2.ReuseTokenSource(nil, client.TokenSource(t.Context(), servicetest.Profile, option))
		first, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		second, err := source.Token()
		if kept := mode == claims.UntilRefresh; err != nil || (first.AccessToken == second.AccessToken) != kept || first.Valid() != kept || first.Type() != "Bearer" {
			t.Errorf("%s: %v, valid %v until %s", mode, err, first.Valid(), first.Expiry)
		}
		if left := time.Until(first.Expiry); left > 205*time.Second || mode == claims.UntilRefresh && left < 190*time.Second {
			t.Errorf("%s: it expires in %s", mode, left)
		}
		carried := client.PerRPCCredentials(servicetest.Profile, option)
		header, err := carried.GetRequestMetadata(t.Context())
		if err != nil || !strings.HasPrefix(header["authorization"], "Bearer eyJ") || !carried.RequireTransportSecurity() {
			t.Errorf("%v", err)
		}
		if _, err := client.TokenSource(t.Context(), servicetest.Forbidden).Token(); reasonOf(err) != "NOT_GRANTED" {
			t.Error(err)
		}
		if _, err := client.PerRPCCredentials(servicetest.Forbidden).GetRequestMetadata(t.Context()); reasonOf(err) != "NOT_GRANTED" {
			t.Error(err)
		}
	}
}

// scriptedWatches answers each WatchToken with the next of its streams.
type scriptedWatches struct {
	jotsmithv1.UnimplementedTokenServiceServer
	streams chan scriptedStream
	began   chan time.Time
}

type scriptedStream struct {
	tokens []string
	end    error
}

func (s *scriptedWatches) WatchToken(_ *jotsmithv1.WatchTokenRequest, stream grpc.ServerStreamingServer[jotsmithv1.WatchTokenResponse]) error {
	s.began <- time.Now()
	next := <-s.streams
	for _, text := range next.tokens {
		if err := stream.Send(&jotsmithv1.WatchTokenResponse{Token: &jotsmithv1.MintTokenResponse{Token: text}}); err != nil {
			return err
		}
	}
	if next.end == nil {
		<-stream.Context().Done()
	}
	return next.end
}

// watchAll returns what a watch of the streams yields.
func watchAll(ctx context.Context, t *testing.T, streams ...scriptedStream) (tokens []string, began []time.Time, last error) {
	t.Helper()
	s := &scriptedWatches{streams: make(chan scriptedStream, len(streams)), began: make(chan time.Time, 64)}
	for _, stream := range streams {
		s.streams <- stream
	}
	client := connect(t, serveProto(t, s), jotsmith.Timeout(2*time.Second))
	for token, err := range client.Watch(ctx, "p") {
		if last = err; err == nil {
			tokens = append(tokens, token.Reveal())
			if token.Reveal() == "enough" {
				break
			}
		}
	}
	for len(s.began) > 0 {
		began = append(began, <-s.began)
	}
	return tokens, began, last
}

func TestAWatchFollowsAServerThatStops(t *testing.T) {
	draining := status.Error(codes.Unavailable, "draining")
	tokens, began, err := watchAll(t.Context(), t,
		scriptedStream{[]string{"a", "b"}, draining}, scriptedStream{[]string{"b"}, draining}, scriptedStream{nil, draining}, scriptedStream{[]string{"b", "enough"}, nil})
	if err != nil || strings.Join(tokens, " ") != "a b enough" || len(began) != 4 {
		t.Fatalf("%v, %d streams, %v", tokens, len(began), err)
	}
	if again := began[2].Sub(began[1]); again < 100*time.Millisecond {
		t.Errorf("a server that stops over and over is asked again after %s", again)
	}
}

func TestAWatchEndsWhenThereCanBeNoToken(t *testing.T) {
	tokens, began, err := watchAll(t.Context(), t, scriptedStream{[]string{"a"}, status.Error(codes.PermissionDenied, "no")})
	if e, ok := errors.AsType[*jotsmith.Error](err); !ok || e.Code != codes.PermissionDenied || len(tokens) != 1 || len(began) != 1 {
		t.Errorf("%v, %v", tokens, err)
	}
	start := time.Now()
	tokens, _, err = watchAll(t.Context(), t, scriptedStream{})
	if e, ok := errors.AsType[*jotsmith.Error](err); !ok || e.Reason != "DEADLINE_EXCEEDED" || len(tokens) != 0 || time.Since(start) < 2*time.Second {
		t.Errorf("a silent server: %v, %v", tokens, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if tokens, _, err = watchAll(ctx, t, scriptedStream{[]string{"a"}, nil}); err != nil || len(tokens) != 1 {
		t.Errorf("a caller who stops: %v, %v", tokens, err)
	}
	client := connect(t, "/nobody/is/here", jotsmith.Timeout(300*time.Millisecond))
	for token, err := range client.Watch(t.Context(), "p") {
		if e, ok := errors.AsType[*jotsmith.Error](err); !ok || e.Code != codes.Unavailable || token.Reveal() != "" {
			t.Errorf("nobody there: %v", err)
		}
	}
}
