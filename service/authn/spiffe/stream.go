package spiffe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 250 * time.Millisecond // before the second attempt to reach the agent
	lastPause  = 5 * time.Second        // it is on this machine: asking costs nothing
	maxUpdate  = 4 << 20                // bytes of what the agent hands out at once
	maxHeader  = 16 << 10
	maxWords   = 512 // bytes of the agent's own words about an error

	// An agent that hangs is found out by this; more often, and a server with
	// gRPC's own limits would end the connection.
	ping        = 10 * time.Minute
	pingTimeout = 20 * time.Second
)

// dial returns a client of the Workload API, which connects when it is used.
func dial(ctx context.Context, address string) (*workloadapi.Client, error) {
	return workloadapi.New(ctx,
		workloadapi.WithAddr(address),
		workloadapi.WithBackoffStrategy(paces{}),
		workloadapi.WithDialOptions(
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastPause},
				MinConnectTimeout: lastPause,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ping, Timeout: pingTimeout}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxUpdate)),
			grpc.WithMaxHeaderListSize(maxHeader),
		))
}

// follow takes up what the agent hands out, until ctx ends. go-spiffe tries
// again by itself but for two codes, which end its watch: an agent that stops
// can answer with one of them.
func (s *Source) follow(ctx context.Context) {
	var again pace
	for ctx.Err() == nil {
		_ = s.client.WatchX509Context(ctx, watcher{s, ctx.Done()}) // the watcher has seen the error
		select {
		case <-ctx.Done():
		case <-time.After(again.Next()):
		}
	}
}

// watcher is what a watch of go-spiffe tells.
type watcher struct {
	source *Source
	over   <-chan struct{}
}

// OnX509ContextUpdate takes up what came.
func (w watcher) OnX509ContextUpdate(offered *workloadapi.X509Context) { w.source.take(offered) }

// OnX509ContextWatchError takes note of the end of a stream, or of what came and
// made no sense.
func (w watcher) OnX509ContextWatchError(err error) {
	select {
	case <-w.over: // at Close, which is no fault
	default:
		w.source.failed(explain(err))
	}
}

var (
	errSilent = errors.New("the agent does not answer; see whether it hangs, or start it again")
	errLate   = errors.New("the agent has brought no other in time; see whether it reaches its server")
)

// explain says what an error of the stream means, and what to do.
func explain(err error) error {
	said, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("the agent ended the stream, or sent what is no SVID: %s", words(err.Error()))
	}
	mend := "see the agent's log"
	switch said.Code() {
	case codes.PermissionDenied:
		mend = "register an entry whose selectors match this process: its user, its path, or its pod"
	case codes.Unavailable:
		mend = "see whether the agent runs, and whether this user may open the socket and its directory"
	case codes.Unimplemented, codes.InvalidArgument:
		mend = "see whether the socket is that of a SPIFFE agent"
	default:
	}
	return fmt.Errorf("%s: %s; %s", said.Code(), words(said.Message()), mend)
}

// words cuts what others wrote to what a line of the log can take.
func words(text string) string {
	if len(text) > maxWords {
		return text[:maxWords] + "..."
	}
	return text
}

// paces makes the pauses of go-spiffe ours.
type paces struct{}

func (paces) NewBackoff() workloadapi.Backoff { return &pace{} }

// pace is a series of pauses, each twice the one before.
type pace struct{ tried int }

// Next returns the next pause.
func (p *pace) Next() time.Duration {
	pause := min(firstPause<<min(p.tried, 16), lastPause)
	p.tried++
	return pause
}

// Reset begins the series anew.
func (p *pace) Reset() { p.tried = 0 }
