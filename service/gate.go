package service

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
)

// errTooManyCalls says that the gate ahead of the handlers is full.
var errTooManyCalls = errors.New("too many calls are under way")

// gate bounds the calls that are under way at once, over all connections: the
// stream limit of gRPC is one of each connection. What is refused here has cost
// a counter and its answer, and no line of the log.
type gate struct {
	most    atomic.Int64
	inside  atomic.Int64
	refused atomic.Int64 // since the start
}

// newGate returns a gate for so many calls; 0 is no bound.
func newGate(most int) *gate {
	g := &gate{}
	g.most.Store(int64(most))
	return g
}

// unary is the interceptor. Health checks pass uncounted, so that a server that
// is busy is not taken for one that is broken; streams, which last, have bounds
// of their own (WatchLimits).
func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if strings.HasPrefix(info.FullMethod, "/grpc.health.v1.") {
		return handler(ctx, req)
	}
	defer g.inside.Add(-1)
	if n, most := g.inside.Add(1), g.most.Load(); n > most && most > 0 {
		g.refused.Add(1)
		return nil, toStatus(errTooManyCalls).Err()
	}
	return handler(ctx, req)
}
