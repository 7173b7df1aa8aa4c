package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// scriptedWatches answers each WatchToken with the next of its watches.
type scriptedWatches struct {
	jotsmithv1.UnimplementedTokenServiceServer
	watches chan scriptedWatch
}

type scriptedWatch struct {
	tokens []string
	end    error
	stay   bool // until the client goes
}

func (s *scriptedWatches) WatchToken(_ *jotsmithv1.WatchTokenRequest, stream grpc.ServerStreamingServer[jotsmithv1.WatchTokenResponse]) error {
	watch := <-s.watches
	for _, text := range watch.tokens {
		resp := &jotsmithv1.WatchTokenResponse{Token: &jotsmithv1.MintTokenResponse{Token: text}}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
	if watch.stay {
		<-stream.Context().Done()
	}
	return watch.end
}

// serveWatches serves them and returns a client's flags.
func serveWatches(t *testing.T, watches ...scriptedWatch) *tokenFlags {
	t.Helper()
	s := &scriptedWatches{watches: make(chan scriptedWatch, len(watches))}
	for _, watch := range watches {
		s.watches <- watch
	}
	close(s.watches)
	t.Chdir(t.TempDir()) // a socket's path is short
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jotsmithv1.RegisterTokenServiceServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return &tokenFlags{client: client{address: "unix:s"}, timeout: 10 * time.Second, output: "token", watch: true}
}

// watchAll watches until the watch ends and returns what it printed, on the other
// writers too.
func (f *tokenFlags) watchAll(ctx context.Context, t *testing.T, other ...io.Writer) (string, error) {
	t.Helper()
	conn, err := f.client.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var out bytes.Buffer
	err = f.watchToken(ctx, jotsmithv1.NewTokenServiceClient(conn), &jotsmithv1.MintTokenRequest{Profile: "p"}, io.MultiWriter(append(other, &out)...))
	return out.String(), err
}

func TestWatchGoesOnWhereItsConnectionHasGrownOld(t *testing.T) {
	aged := status.Error(codes.Unavailable, "closing transport")
	draining, err := status.New(codes.Unavailable, "the server is stopping").WithDetails(&errdetails.ErrorInfo{Reason: "DRAINING"})
	if err != nil {
		t.Fatal(err)
	}
	f := serveWatches(
		t,
		scriptedWatch{tokens: []string{"a", "b"}, end: aged},
		scriptedWatch{tokens: []string{"b"}, end: aged},
		scriptedWatch{tokens: []string{"b", "c"}, end: draining.Err()},
	)
	out, err := f.watchAll(t.Context(), t)
	if out != "a\nb\nc\n" {
		t.Errorf("printed %q", out)
	}
	fault, ok := errors.AsType[*exitError](err)
	if !ok || fault.code != exitTryAgain || fault.Error() != "DRAINING: the server is stopping" {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchEndsWhereNoTokenComes(t *testing.T) {
	f := serveWatches(t, scriptedWatch{tokens: []string{"a"}, end: status.Error(codes.Unavailable, "closing transport")}, scriptedWatch{stay: true})
	f.timeout = 100 * time.Millisecond
	out, err := f.watchAll(t.Context(), t)
	fault, ok := errors.AsType[*exitError](err)
	if out != "a\n" || !ok || fault.code != exitTryAgain || !errors.Is(err, errNoToken) {
		t.Errorf("printed %q and ended with %v", out, err)
	}
}

func TestWatchDoesNotRepeatAWatchThatGaveNothing(t *testing.T) {
	f := serveWatches(t, scriptedWatch{end: status.Error(codes.Unavailable, "nobody here")})
	_, err := f.watchAll(t.Context(), t)
	if fault, ok := errors.AsType[*exitError](err); !ok || fault.code != exitTryAgain {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchEndsWithoutAnErrorWhenItIsInterrupted(t *testing.T) {
	f := serveWatches(t, scriptedWatch{tokens: []string{"a"}, stay: true})
	ctx, interrupt := context.WithCancel(t.Context())
	if _, err := f.watchAll(ctx, t, writer(func(p []byte) (int, error) { interrupt(); return len(p), nil })); err != nil {
		t.Error(err)
	}
}

// writer is a function as an io.Writer.
type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
