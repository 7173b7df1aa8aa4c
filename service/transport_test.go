package service_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

const mintMethod = "/jotsmith.v1.TokenService/MintToken"

func TestLargestMessageIsStillLookedAt(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	req := request()
	req.Claims += strings.Repeat(" ", 64<<10-proto.Size(req)-3) // the length of claims takes two bytes more
	if size := proto.Size(req); size != 64<<10-1 {
		t.Fatalf("the request has %d bytes", size)
	}
	_, err := s.Tokens(t).MintToken(t.Context(), req)
	if got := seen(t, err); got.reason != "INVALID_REQUEST" { // claims have a bound of their own
		t.Errorf("got %+v", got)
	}
}

func TestNoCompressorIsInTheProgram(t *testing.T) {
	for _, name := range []string{"gzip", "snappy", "zstd", "deflate"} {
		if encoding.GetCompressor(name) != nil {
			t.Errorf("%s is registered in the server's program", name)
		}
	}
}

func TestBadInputIsAnsweredQuicklyAndInBoundedMemory(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	wantUsable(t, tokens)
	inputs := map[string]string{
		"deep":         strings.Repeat(`{"a":`, 6000) + "1" + strings.Repeat("}", 6000),
		"deep array":   `{"sub":` + strings.Repeat("[", 15000) + strings.Repeat("]", 15000) + "}",
		"many names":   `{` + strings.Repeat(`"a":1,`, 5000) + `"b":1}`,
		"long number":  `{"n":` + strings.Repeat("9", 32000) + `}`,
		"long string":  `{"sub":"` + strings.Repeat("a", 32000) + `"}`,
		"bad escapes":  `{"sub":"` + strings.Repeat(`\ud800`, 5000) + `"}`,
		"many escapes": `{"sub":"` + strings.Repeat(`\u0061`, 5000) + `"}`,
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			var took []time.Duration
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			before := memory.TotalAlloc
			const rounds = 9
			for range rounds {
				start := time.Now()
				_, err := tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: input})
				took = append(took, time.Since(start))
				if got := seen(t, err); got.code != codes.InvalidArgument {
					t.Fatalf("got %+v", got)
				}
			}
			runtime.ReadMemStats(&memory)
			if per := (memory.TotalAlloc - before) / rounds; per > 4<<20 {
				t.Errorf("%d bytes of memory a request", per)
			}
			if m := median(took); m > limit(5*time.Millisecond) {
				t.Errorf("the median of %d requests took %v", rounds, m)
			}
			wantUsable(t, tokens)
		})
	}
}

func median(d []time.Duration) time.Duration {
	for i := range d {
		for j := i; j > 0 && d[j] < d[j-1]; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
	return d[len(d)/2]
}

// limit is d, with room for the race detector and a busy machine.
func limit(d time.Duration) time.Duration { return 10 * d }

func TestStopLetsCallsFinishAndLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("serve", func(t *testing.T) {
		s := servicetest.Start(t, servicetest.Options{})
		entered, release := make(chan struct{}), make(chan struct{})
		s.Store.Fail(func(context.Context, string, string) error { close(entered); <-release; return nil })
		tokens := s.Tokens(t)
		result := make(chan error, 1)
		go func() {
			_, err := tokens.MintToken(t.Context(), request())
			result <- err
		}()
		<-entered
		stopped := make(chan struct{})
		go func() { s.GRPC.GracefulStop(); close(stopped) }()
		close(release)
		if err := <-result; err != nil {
			t.Errorf("a call under way: %v", err)
		}
		<-stopped
	})
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// Otherwise whoever sends fast could have 16 MiB held for each of his streams.
func TestWindowsOfFlowControlDoNotGrow(t *testing.T) {
	w := newWorld(t, service.Times{})
	c := w.tls(w.mtls, w.good)
	var seen []string
	for range 100 {
		stream := c.open(mintMethod)
		for i, part := range slices.Collect(slices.Chunk(framed(60<<10, make([]byte, 60<<10)), 15<<10)) {
			c.must(c.framer.WriteData(stream, i == 4, part))
		}
		for done := false; !done; {
			frame, err := c.framer.ReadFrame()
			c.must(err)
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				done = frame.StreamEnded()
			case *http2.PingFrame: // by which the server measures how fast the client is
				c.must(c.framer.WritePing(true, frame.Data))
				seen = append(seen, "PING")
			case *http2.SettingsFrame:
				if size, ok := frame.Value(http2.SettingInitialWindowSize); ok && size > 64<<10 {
					seen = append(seen, frame.String())
				}
			}
		}
	}
	if len(seen) > 0 {
		t.Errorf("the server says %v", seen)
	}
}
