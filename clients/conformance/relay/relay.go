// Package relay stands between a client library and a server: it passes calls on
// as they are, counts them, and does what no healthy server does when a test says
// so: it answers in the server's place, holds a call, ends streams, and changes how
// long tokens seem to last or what time the server seems to have.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Relay is a gRPC server on a Unix socket that passes all calls on. It ends with
// the test, and is safe for concurrent use.
type Relay struct {
	// Address is where it listens.
	Address string

	server *grpc.Server
	to     *grpc.ClientConn

	mu       sync.Mutex
	asked    map[string]int // calls by the method's name
	last     *jotsmithv1.MintTokenRequest
	answers  map[string][]Answer
	schedule *Schedule
	shift    time.Duration
	streams  map[*stream]context.CancelFunc
}

// Answer is what one call gets in the place of the server's answer.
type Answer struct {
	// Hold is how long the call is held first; it ends when its caller gives up.
	Hold time.Duration
	// Status is the answer; nil lets the server answer.
	Status *status.Status
}

// Schedule is how long after it was answered each token should be refreshed, and
// how long it seems to last.
type Schedule struct{ Refresh, Expire time.Duration }

// New starts a Relay on socket to a server at address.
func New(t testing.TB, socket, address string) *Relay {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	to, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Address: "unix://" + socket, to: to, asked: map[string]int{}, answers: map[string][]Answer{}, streams: map[*stream]context.CancelFunc{}}
	r.server = grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return r.relay(s) }), grpc.ForceServerCodecV2(bytesCodec{}))
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(listener) }()
	t.Cleanup(func() {
		r.server.Stop()
		if err := errors.Join(<-served, to.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Answer gives the next calls of a method these answers, one each.
func (r *Relay) Answer(method string, answers ...Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[method] = append(r.answers[method], answers...)
}

// Last makes tokens seem to last as s says from now on; nil leaves them as they are.
func (r *Relay) Last(s *Schedule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule = s
}

// Shift makes the server's clock seem to be by d ahead.
func (r *Relay) Shift(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shift = d
}

// Asked is how often a method was called.
func (r *Relay) Asked(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[method]
}

// LastClaims is the text of the claims in the newest MintToken.
func (r *Relay) LastClaims() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.GetClaims()
}

// Cut ends all streams that are open as a server does whose connections are old.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, cancel := range r.streams {
		cancel()
	}
}

var errCut = status.Error(codes.Unavailable, "the connection is old")

// stream is one call under way.
type stream struct {
	method string
	from   grpc.ServerStream
	to     grpc.ClientStream
}

// relay passes one call on.
func (r *Relay) relay(from grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(from)
	s := &stream{method: path.Base(full), from: from}
	var request []byte
	if err := from.RecvMsg(&request); err != nil {
		return err
	}
	if answer, ok := r.take(s.method, request); ok {
		hold := time.NewTimer(answer.Hold)
		defer hold.Stop()
		select {
		case <-hold.C:
		case <-from.Context().Done():
			return status.FromContextError(from.Context().Err()).Err()
		}
		if answer.Status != nil {
			return answer.Status.Err()
		}
	}
	ctx, cut := context.WithCancelCause(from.Context())
	defer cut(nil)
	r.mu.Lock()
	r.streams[s] = func() { cut(errCut) }
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.streams, s)
		r.mu.Unlock()
	}()
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", md.Get("authorization")[0])
	}
	err := r.pass(ctx, s, full, request)
	if cause := context.Cause(ctx); errors.Is(cause, errCut) {
		return errCut
	}
	return err
}

// take counts a call, and returns what it gets in the place of an answer.
func (r *Relay) take(method string, request []byte) (Answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[method]++
	if method == "MintToken" {
		r.last = &jotsmithv1.MintTokenRequest{}
		if err := proto.Unmarshal(request, r.last); err != nil {
			return Answer{Status: status.New(codes.Internal, err.Error())}, true
		}
	}
	if len(r.answers[method]) == 0 {
		return Answer{}, false
	}
	answer := r.answers[method][0]
	r.answers[method] = r.answers[method][1:]
	return answer, true
}

// pass gives the server the request and its answers to the caller.
func (r *Relay) pass(ctx context.Context, s *stream, full string, request []byte) error {
	var err error
	s.to, err = r.to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, full, grpc.ForceCodecV2(bytesCodec{}))
	if err != nil {
		return err
	}
	if err := s.to.SendMsg(&request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.to.CloseSend(); err != nil {
		return err
	}
	for {
		var message []byte
		if err := s.to.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if message, err = r.rewrite(s.method, message); err != nil {
			return err
		}
		if err := s.from.SendMsg(&message); err != nil {
			return err
		}
	}
}

// bytesCodec leaves messages as they are. It is named like the codec that both
// sides have.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is no message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*message)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a %T is no message", v)
	}
	*message = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}
