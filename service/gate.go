package service

import (
	"container/list"
	"context"
	"errors"
	"hash/maphash"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
//
// Some of a party's calls are worked on abreast, and the others wait in line, where they
// take no processor time. Signatures have turns by caller, but Go's run queue and the
// disk's word have none: without a bound here the thousand calls of one are ahead of
// the eight of another at each step between.
type gate struct {
	most    atomic.Int64
	abreast atomic.Int64 // of a party; 0 is no bound
	inside  atomic.Int64
	working *atomic.Int64 // of those inside: who has his turn
	refused atomic.Int64  // since the start

	// gaveUp counts a call whose context has ended in line, and returns what it answers.
	gaveUp func(method string, err error, waited time.Duration) error

	seed   maphash.Seed
	shards [gateShards]gateShard
}

const gateShards = 64

// gateShard has the parties whose names have a hash.
type gateShard struct {
	mu     sync.Mutex
	inside map[string]*party // those with calls under way
}

// party is the calls of one.
type party struct {
	calls   int64 // under way
	abreast int64 // of them worked on
	line    list.List
}

// turn is what a call waits for, to be worked on. One whose turn comes at once has none.
type turn struct {
	come chan struct{} // closed when it has
	at   *list.Element // in the line; nil once it has come
}

// newGate returns a gate for so many calls, 0 is no bound, and counts in working those
// that are worked on.
func newGate(most int, working *atomic.Int64) *gate {
	if working == nil {
		working = new(atomic.Int64)
	}
	g := &gate{working: working, seed: maphash.MakeSeed()}
	g.gaveUp = func(_ string, err error, _ time.Duration) error { return toStatus(err).Err() }
	g.most.Store(int64(most))
	for i := range g.shards {
		g.shards[i].inside = map[string]*party{}
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
	name := partyOf(ctx)
	t, ok := g.enter(name)
	if !ok {
		g.refused.Add(1)
		return nil, toStatus(errTooManyCalls).Err()
	}
	defer g.leave(name, t)
	if t != nil {
		began := time.Now()
		select {
		case <-t.come:
		case <-ctx.Done():
			return nil, g.gaveUp(info.FullMethod, ctx.Err(), time.Since(began))
		}
	}
	return handler(ctx, req)
}

// enter lets a call of a party in, or not, and gives it its turn or a place in line.
func (g *gate) enter(name string) (t *turn, ok bool) {
	shard := g.shard(name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	p := shard.inside[name]
	if p == nil {
		p = &party{}
	}
	most := g.most.Load()
	if left := most - g.inside.Load(); most > 0 && p.calls >= 2*left {
		return nil, false
	}
	if g.inside.Add(1) > most && most > 0 { // others came at the same time
		g.inside.Add(-1)
		return nil, false
	}
	shard.inside[name] = p
	p.calls++
	if p.abreast >= g.bound(p) {
		t = &turn{come: make(chan struct{})}
		t.at = p.line.PushBack(t)
		return t, true
	}
	p.abreast++
	g.working.Add(1)
	return nil, true
}

// leave ends a call of a party, whose turn is the next one's in line.
func (g *gate) leave(name string, t *turn) {
	shard := g.shard(name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	g.inside.Add(-1)
	p := shard.inside[name]
	if p.calls--; p.calls == 0 {
		delete(shard.inside, name)
	}
	if t != nil && t.at != nil { // it went before its turn came
		p.line.Remove(t.at)
		return
	}
	p.abreast--
	g.working.Add(-1)
	for p.line.Len() > 0 && p.abreast < g.bound(p) {
		next, _ := p.line.Remove(p.line.Front()).(*turn)
		next.at = nil
		p.abreast++
		g.working.Add(1)
		close(next.come)
	}
}

// bound is how many calls of a party are worked on abreast: half as many while others
// have calls too.
func (g *gate) bound(p *party) int64 {
	most := g.abreast.Load()
	switch {
	case most == 0:
		return math.MaxInt64
	case g.inside.Load() > p.calls:
		return (most + 1) / 2
	}
	return most
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
