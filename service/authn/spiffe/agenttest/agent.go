// Package agenttest is a SPIFFE agent for tests: the Workload API on a Unix
// socket, by go-spiffe's own proto, that hands out what a test tells it, denies,
// falls silent, or goes away; and the trust domains for it to hand out.
package agenttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Agent is one run of an agent. It is silent until it is told what to say, and
// then says it on the streams that are open and on those to come. It is safe for
// concurrent use.
type Agent struct {
	server *grpc.Server
	ended  chan struct{} // closed when it serves no more
	err    error         // why, then

	mu      sync.Mutex
	say     func(workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error // nil for silence
	changed chan struct{}                                              // closed with the next change of say
	streams int
}

// Listen starts an agent at a Unix socket. The caller closes it.
func Listen(socket string) (*Agent, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("fake SPIFFE agent: %w", err)
	}
	a := &Agent{server: grpc.NewServer(), ended: make(chan struct{}), changed: make(chan struct{})}
	workload.RegisterSpiffeWorkloadAPIServer(a.server, api{agent: a})
	go func() {
		defer close(a.ended)
		a.err = a.server.Serve(listener)
	}()
	return a, nil
}

// Close ends every stream as an agent that is killed does, and removes the
// socket. It may be called again.
func (a *Agent) Close() error {
	a.server.Stop()
	<-a.ended
	if errors.Is(a.err, grpc.ErrServerStopped) { // before it began to serve
		return nil
	}
	return a.err
}

// Hand hands out a response.
func (a *Agent) Hand(resp *workload.X509SVIDResponse) {
	a.tell(func(stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error { return stream.Send(resp) })
}

// Deny ends every stream with a code.
func (a *Agent) Deny(code codes.Code, text string) {
	a.tell(func(workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error { return status.Error(code, text) })
}

// Mute says nothing on streams to come.
func (a *Agent) Mute() { a.tell(nil) }

// Streams counts the streams that were ever opened.
func (a *Agent) Streams() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.streams
}

func (a *Agent) tell(say func(workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.say = say
	close(a.changed)
	a.changed = make(chan struct{})
}

// api is the service; what a test does not need of it is unimplemented.
type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	agent *Agent
}

// FetchX509SVID says what the agent was told to.
func (s api) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	ctx := stream.Context()
	// SPIFFE Workload Endpoint section 3: an agent answers nobody without it.
	if header := metadata.ValueFromIncomingContext(ctx, "workload.spiffe.io"); len(header) != 1 || header[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	s.agent.mu.Lock()
	s.agent.streams++
	s.agent.mu.Unlock()
	for {
		s.agent.mu.Lock()
		say, changed := s.agent.say, s.agent.changed
		s.agent.mu.Unlock()
		if say != nil {
			if err := say(stream); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
