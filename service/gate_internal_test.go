package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/service/quota"
)

const mintMethod = "/jotsmith.v1.TokenService/MintToken"

// through sends one call to a method through the gate.
func through(ctx context.Context, g *gate, method string, handler grpc.UnaryHandler) error {
	_, err := g.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, handler)
	return err
}

func answered(context.Context, any) (any, error) { return nil, nil }

func TestGateRefusesOneCallTooManyAtOnce(t *testing.T) {
	g := newGate(2, nil)
	err := through(t.Context(), g, mintMethod, func(ctx context.Context, _ any) (any, error) {
		return nil, through(ctx, g, mintMethod, func(ctx context.Context, _ any) (any, error) {
			if err := through(ctx, g, "/grpc.health.v1.Health/Check", answered); err != nil {
				t.Errorf("a health check: %v", err)
			}
			start := time.Now()
			third := through(ctx, g, mintMethod, answered)
			if took := time.Since(start); took > 50*time.Millisecond {
				t.Errorf("the refusal took %v", took)
			}
			return nil, third
		})
	})
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || reasonOf(st) != "OVERLOADED" || delayOf(st) != 100*time.Millisecond {
		t.Errorf("got %v", st)
	}
	if err := through(t.Context(), g, mintMethod, answered); err != nil || g.inside.Load() != 0 {
		t.Errorf("the next call: %v; %d are inside", err, g.inside.Load())
	}
}

func delayOf(st *status.Status) time.Duration {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func TestGateGivesAPlaceBackAfterAPanicAndAnError(t *testing.T) {
	g := newGate(1, nil)
	func() {
		defer func() { _ = recover() }()
		_ = through(t.Context(), g, mintMethod, func(context.Context, any) (any, error) { panic("x") })
	}()
	if err := through(t.Context(), g, mintMethod, func(context.Context, any) (any, error) { return nil, errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := through(t.Context(), g, mintMethod, answered); err != nil {
		t.Error(err)
	}
}

func TestGateWithoutABoundRefusesNobody(t *testing.T) {
	if err := through(t.Context(), newGate(0, nil), mintMethod, answered); err != nil {
		t.Error(err)
	}
}

func TestExceededQuotaSaysWhenToComeAgain(t *testing.T) {
	st := toStatus(&quota.Exceeded{Rule: "secret-name", Wait: 1234 * time.Millisecond})
	if st.Code() != codes.ResourceExhausted || reasonOf(st) != "QUOTA_EXCEEDED" || delayOf(st) != 1234*time.Millisecond {
		t.Errorf("got %v", st)
	}
}

func BenchmarkGateRefuses(b *testing.B) {
	g := newGate(1, nil)
	g.inside.Add(1)
	b.ReportAllocs()
	for b.Loop() {
		if through(b.Context(), g, mintMethod, answered) == nil {
			b.Fatal("passed")
		}
	}
}

// as is a context of a call that comes from an address.
func as(ctx context.Context, host string) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(host)}})
}

func TestGateKeepsPlacesFromWhoeverHasMost(t *testing.T) {
	g := newGate(100, nil)
	for _, step := range []struct {
		party string
		get   int64
	}{{"flood", 67}, {"second", 22}, {"third", 8}, {"flood", 67}, {"fourth", 2}} {
		for range 200 {
			g.enter(step.party)
		}
		if got := g.shard(step.party).inside[step.party].calls; got != step.get {
			t.Errorf("%s has %d calls under way, want %d", step.party, got, step.get)
		}
	}
	for _, party := range []string{"flood", "second", "third", "fourth"} {
		for g.shard(party).inside[party] != nil {
			g.leave(party, nil)
		}
	}
	if g.inside.Load() != 0 {
		t.Errorf("%d are inside", g.inside.Load())
	}
	for i := range g.shards {
		if n := len(g.shards[i].inside); n != 0 {
			t.Errorf("%d parties are counted that have no call", n)
		}
	}
}

func TestGateCountsStrangersByAddress(t *testing.T) {
	if a, b := partyOf(as(t.Context(), "192.0.2.1")), partyOf(as(t.Context(), "192.0.2.2")); a == b || a != "192.0.2.1" {
		t.Errorf("%q and %q", a, b)
	}
	g := newGate(3, nil)
	err := through(as(t.Context(), "192.0.2.1"), g, mintMethod, func(ctx context.Context, _ any) (any, error) {
		return nil, through(ctx, g, mintMethod, func(ctx context.Context, _ any) (any, error) {
			if err := through(ctx, g, mintMethod, answered); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("the third of one address: %v", err)
			}
			return nil, through(as(ctx, "192.0.2.2"), g, mintMethod, answered)
		})
	})
	if err != nil {
		t.Errorf("another address: %v", err)
	}
}

// TestAPartysCallsTakeTurns has a party send more calls than are worked on abreast,
// while another's pass.
func TestAPartysCallsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(0, nil)
		g.abreast.Store(4)
		var working, most atomic.Int64
		release := make(chan struct{})
		work := func(context.Context, any) (any, error) {
			for now, seen := working.Add(1), most.Load(); now > seen && !most.CompareAndSwap(seen, now); {
				seen = most.Load()
			}
			<-release
			working.Add(-1)
			return nil, nil
		}
		flood := as(t.Context(), "192.0.2.1")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := through(flood, g, mintMethod, work); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if g.inside.Load() != 100 || g.working.Load() != 4 || working.Load() != 4 {
			t.Errorf("%d inside, %d and %d worked on", g.inside.Load(), g.working.Load(), working.Load())
		}
		other := make(chan struct{})
		wg.Go(func() {
			err := through(as(t.Context(), "192.0.2.2"), g, mintMethod, func(context.Context, any) (any, error) { <-other; return nil, nil })
			if err != nil {
				t.Errorf("another party: %v", err)
			}
		})
		synctest.Wait()
		for range 3 { // the flood has half of its turns while the other is there
			release <- struct{}{}
			synctest.Wait()
		}
		if working.Load() != 2 {
			t.Errorf("beside another party %d are worked on", working.Load())
		}
		gone, cancel := context.WithCancel(flood)
		cancel()
		if err := through(gone, g, mintMethod, answered); status.Code(err) != codes.Canceled {
			t.Errorf("a caller who went: %v", err)
		}
		close(other)
		close(release)
		wg.Wait()
		if most.Load() != 4 || g.inside.Load() != 0 || g.working.Load() != 0 || len(g.shard("192.0.2.1").inside) != 0 {
			t.Errorf("%d at once; left are %d and %d", most.Load(), g.inside.Load(), g.working.Load())
		}
	})
}

// TestTurnsUnderLoad has calls come, go before their turn, and panic, while the bound
// changes: nothing is left, and nobody waits for ever.
func TestTurnsUnderLoad(t *testing.T) {
	g := newGate(500, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for j := range 50 {
				g.abreast.Store(int64((i + j) % 5)) // 0 is no bound
				ctx, cancel := context.WithTimeout(as(t.Context(), fmt.Sprintf("192.0.2.%d", i%3)), time.Duration(j%3)*time.Millisecond+time.Microsecond)
				func() {
					defer func() { _ = recover() }()
					_ = through(ctx, g, mintMethod, func(context.Context, any) (any, error) {
						if j%7 == 0 {
							panic("x")
						}
						runtime.Gosched()
						return nil, nil
					})
				}()
				cancel()
			}
		})
	}
	wg.Wait()
	if g.inside.Load() != 0 || g.working.Load() != 0 {
		t.Errorf("%d are inside, %d worked on", g.inside.Load(), g.working.Load())
	}
	for i := range g.shards {
		if len(g.shards[i].inside) != 0 {
			t.Error("a party is counted that has no call")
		}
	}
}

// Whoever goes while he waits for his turn is counted as a failed call.
func TestCallThatEndsInLineIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		s.gate.abreast.Store(1)
		held := make(chan struct{})
		go func() {
			_ = through(t.Context(), s.gate, mintMethod, func(context.Context, any) (any, error) { <-held; return nil, nil })
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := through(ctx, s.gate, mintMethod, answered)
		if status.Code(err) != codes.DeadlineExceeded || s.counts.failed.Load() != 1 {
			t.Errorf("%v; %d have failed", err, s.counts.failed.Load())
		}
		page := httptest.NewRecorder()
		s.Metrics.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		for _, want := range []string{
			`jotsmith_failures_total{reason="DEADLINE_EXCEEDED"} 1`, `jotsmith_calls_total{code="DeadlineExceeded",method="MintToken"} 1`,
		} {
			if !strings.Contains(page.Body.String(), want) {
				t.Errorf("no metric says %s", want)
			}
		}
		close(held)
	})
}
