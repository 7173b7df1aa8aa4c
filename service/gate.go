package service

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/jotsmith/jotsmith/service/authn"
)

// errTooManyCalls says that the gate ahead of the handlers is full.
var errTooManyCalls = errors.New("too many calls are under way")

// gate bounds the calls that are under way at once, over all connections: the
// stream limit of gRPC is one of each connection. What is refused here has cost
// some counters and its answer, and no line of the log.
//
// A party may have twice as many calls under way as are left: one alone two thirds
// of all, two two fifths each. However many one sends, others find places
// (Choudhury and Hahne 1998, "Dynamic queue length thresholds").
type gate struct {
	most    atomic.Int64
	inside  *atomic.Int64
	refused atomic.Int64 // since the start

	seed   maphash.Seed
	shards [gateShards]gateShard
}

const gateShards = 64

// gateShard counts the calls of the parties whose names have a hash.
type gateShard struct {
	mu     sync.Mutex
	inside map[string]int64 // by party; none is 0
}

// newGate returns a gate for so many calls, which inside counts; 0 is no bound.
func newGate(most int, inside *atomic.Int64) *gate {
	if inside == nil {
		inside = new(atomic.Int64)
	}
	g := &gate{inside: inside, seed: maphash.MakeSeed()}
	g.most.Store(int64(most))
	for i := range g.shards {
		g.shards[i].inside = map[string]int64{}
	}
	return g
}

// unary is the interceptor. Health checks pass uncounted, so that a server that
// is busy is not taken for one that is broken; streams, which last, have bounds
// of their own (WatchLimits).
func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if strings.HasPrefix(info.FullMethod, "/grpc.health.v1.") {
		return handler(ctx, req)
	}
	party := partyOf(ctx)
	if !g.enter(party) {
		g.refused.Add(1)
		return nil, toStatus(errTooManyCalls).Err()
	}
	defer g.leave(party)
	return handler(ctx, req)
}

// enter lets a call of a party in, or not.
func (g *gate) enter(party string) bool {
	shard := g.shard(party)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	most := g.most.Load()
	if left := most - g.inside.Load(); most > 0 && shard.inside[party] >= 2*left {
		return false
	}
	if g.inside.Add(1) > most && most > 0 { // others came at the same time
		g.inside.Add(-1)
		return false
	}
	shard.inside[party]++
	return true
}

// leave ends a call of a party.
func (g *gate) leave(party string) {
	shard := g.shard(party)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	g.inside.Add(-1)
	if shard.inside[party]--; shard.inside[party] == 0 {
		delete(shard.inside, party)
	}
}

func (g *gate) shard(party string) *gateShard {
	return &g.shards[maphash.String(g.seed, party)%gateShards]
}

// partyOf is whom the gate counts a call for: whom the connection makes known,
// or else the address that it comes from. A bearer is not looked at: that costs
// more than what the gate keeps away.
func partyOf(ctx context.Context) string {
	if caller, err := authn.FromContext(ctx); err == nil && caller.Known() {
		return caller.String()
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return p.Addr.String()
}
