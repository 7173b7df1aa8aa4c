package flood_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/cmd/internal/flood"
)

// every refuses one call in four, and notes how many are under way.
type every struct {
	healthv1.UnimplementedHealthServer
	calls, wrong, inside, most atomic.Int64
	hold                       time.Duration
}

func (s *every) Check(_ context.Context, req *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	now := s.inside.Add(1)
	defer s.inside.Add(-1)
	for old := s.most.Load(); now > old && !s.most.CompareAndSwap(old, now); old = s.most.Load() {
	}
	if req.GetService() != "the message" {
		s.wrong.Add(1)
	}
	time.Sleep(s.hold)
	if s.calls.Add(1)%4 == 0 {
		return nil, status.Error(codes.ResourceExhausted, "")
	}
	return &healthv1.HealthCheckResponse{}, nil
}

// run has parties ask a server for some time.
func run(t *testing.T, s *every, d time.Duration, asks ...flood.Asks) flood.Tally {
	t.Helper()
	dir, err := os.MkdirTemp("", "f") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	message, err := proto.Marshal(&healthv1.HealthCheckRequest{Service: "the message"})
	if err != nil {
		t.Fatal(err)
	}
	var parties []flood.Party
	for _, a := range asks {
		parties = append(parties, flood.Party{Asks: a, Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}})
	}
	tally, err := flood.Run(t.Context(), flood.Call{Method: "/grpc.health.v1.Health/Check", Message: message}, parties, d)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

func TestEveryCallIsCountedByHowItEnded(t *testing.T) {
	s := &every{}
	tally := run(t, s, 200*time.Millisecond, flood.Asks{Connections: 2, Streams: 3}, flood.Asks{Connections: 1, Streams: 1})
	ok, refused := tally.Answers[codes.OK], tally.Answers[codes.ResourceExhausted]
	if all := s.calls.Load(); int64(ok.Count+refused.Count) != all || int64(refused.Count) != all/4 || all < 100 || s.wrong.Load() != 0 {
		t.Errorf("%d and %d of %d calls, %d wrong", ok.Count, refused.Count, all, s.wrong.Load())
	}
	if most := s.most.Load(); most > 7 {
		t.Errorf("%d calls were under way at once", most)
	}
	if ok.P50 <= 0 || ok.P99 < ok.P50 || tally.Took < 200*time.Millisecond || tally.Of(codes.OK) <= 0 || tally.Unasked != 0 {
		t.Errorf("%+v", tally)
	}
}

func TestAPaceIsKept(t *testing.T) {
	s := &every{}
	tally := run(t, s, 500*time.Millisecond, flood.Asks{Connections: 2, Streams: 100, Pace: 1000, Tick: time.Millisecond})
	most := int(1000 * tally.Took.Seconds())
	if n := int(s.calls.Load()) + tally.Unasked; n < 400 || n > most {
		t.Errorf("%d calls in %s, want at most %d and not many fewer than 500", n, tally.Took, most)
	}
}

func TestWhatFindsNoStreamIsNotAsked(t *testing.T) {
	s := &every{hold: 20 * time.Millisecond}
	tally := run(t, s, 300*time.Millisecond, flood.Asks{Connections: 1, Streams: 2, Pace: 10_000, Tick: time.Millisecond})
	if n := s.calls.Load(); n > 40 || tally.Unasked < 1000 || s.most.Load() > 2 {
		t.Errorf("%d calls, %d not asked, %d at once", n, tally.Unasked, s.most.Load())
	}
}

func TestAServerThatGoesAwayIsAnError(t *testing.T) {
	refuse := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	if _, err := flood.Run(t.Context(), flood.Call{}, []flood.Party{{Dial: refuse, Asks: flood.Asks{Connections: 1, Streams: 1}}}, time.Second); err == nil {
		t.Error("no error")
	}
	ours, theirs := net.Pipe()
	go func() {
		buf := make([]byte, 1024)
		_, _ = theirs.Read(buf)
		theirs.Close()
	}()
	hangs := func(context.Context) (net.Conn, error) { return ours, nil }
	if _, err := flood.Run(t.Context(), flood.Call{}, []flood.Party{{Dial: hangs, Asks: flood.Asks{Connections: 1, Streams: 1}}}, time.Second); err == nil {
		t.Error("no error of a connection that ends")
	}
}
