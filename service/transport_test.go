package service_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

const mintMethod = "/jotsmith.v1.TokenService/MintToken"

func TestOversizeMessagesAreRefusedByTheTransport(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	wantUsable(t, tokens)
	for _, size := range []int{64<<10 + 1, 4 << 20} {
		req := request()
		req.Claims = strings.Repeat(" ", size)
		_, err := tokens.MintToken(t.Context(), req)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%d bytes: %v", size, err)
		}
		wantUsable(t, tokens)
	}
}

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

func TestMetadataIsBounded(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("a", 1<<20))
	if _, err := tokens.MintToken(ctx, request()); err == nil {
		t.Error("1 MiB of metadata is accepted")
	}
	wantUsable(t, s.Tokens(t))
}

func TestCompressionIsNotServed(t *testing.T) {
	if encoding.GetCompressor("gzip") != nil {
		t.Error("a compressor is registered in the server's program")
	}
	s := servicetest.Start(t, servicetest.Options{})
	frames := rawCall(t, s, mintMethod, map[string]string{"grpc-encoding": "gzip"}, []byte{1, 0, 0, 0, 1, 0})
	if code := frames["grpc-status"]; code != "12" { // UNIMPLEMENTED
		t.Errorf("gzip gets grpc-status %q", code)
	}
	wantUsable(t, s.Tokens(t))
}

func TestPathWithoutItsSlashReachesNoHandler(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	body, err := proto.Marshal(request())
	if err != nil {
		t.Fatal(err)
	}
	before := s.Store.Signed()
	for _, path := range []string{strings.TrimPrefix(mintMethod, "/"), "//jotsmith.v1.TokenService/MintToken", "/jotsmith.v1.TokenService", "/"} {
		frame := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
		got := rawCall(t, s, path, nil, frame)
		if got["grpc-status"] == "0" {
			t.Errorf("%q is served", path)
		}
	}
	if s.Store.Signed() != before {
		t.Error("a signature was spent")
	}
	wantUsable(t, s.Tokens(t))
}

func TestGarbageIsNoRequest(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	for _, body := range [][]byte{{0, 0, 0, 0, 3, 0xff, 0xff, 0xff}, {7, 0, 0, 0, 0}} {
		if got := rawCall(t, s, mintMethod, nil, body); got["grpc-status"] == "0" || got["grpc-status"] == "" {
			t.Errorf("% x gets grpc-status %q", body, got["grpc-status"])
		}
	}
	conn, err := net.Dial("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(bytes.Repeat([]byte("not http2\r\n"), 100)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the server keeps a connection of garbage: %v", err)
	}
	wantUsable(t, s.Tokens(t))
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

// rawCall sends one request as raw HTTP/2 and returns the response's headers
// and trailers; :status is among them.
func rawCall(t *testing.T, s *servicetest.Server, path string, headers map[string]string, body []byte) map[string]string {
	t.Helper()
	conn, err := net.Dial("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}
	for name, value := range headers {
		fields = append(fields, hpack.HeaderField{Name: name, Value: value})
	}
	for _, field := range fields {
		if err := enc.WriteField(field); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for _, err := range []error{
		framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, body),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return got // the server closed the connection
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range frame.Fields {
				got[field.Name] = field.Value
			}
			if frame.StreamEnded() {
				return got
			}
		case *http2.RSTStreamFrame:
			got["rst"] = frame.ErrCode.String()
			return got
		}
	}
}
