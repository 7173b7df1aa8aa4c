package reuse_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/jotsmith/jotsmith/service/claims"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestHundredThousandClaimsStayWithinTheBound(t *testing.T) {
	const bound = 1 << 20
	w := newWorld(t)
	defer w.cache.Close()
	before := heap()
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for round := range 25 {
				w.cache.Fill(1000, 200+25*part+round)
				// Each goroutine may be ahead of the others' maintenance.
				if weight := w.cache.Weight(); weight > bound+4*2048 {
					t.Errorf("%d bytes are kept", weight)
				}
			}
		})
	}
	wg.Wait()
	for i := range 2000 { // through the front door
		w.get(app, claims.Request{Claims: fmt.Sprintf(`{"sub":%q,"n":%d}`, strings.Repeat("x", 200), i)})
	}
	grown := int64(heap()) - int64(before)
	t.Logf("%d tokens weigh %d bytes and take %d", w.cache.Len(), w.cache.Weight(), grown)
	if weight := w.cache.Weight(); weight > bound || weight < bound/2 {
		t.Errorf("%d bytes are kept", weight)
	}
	if grown > 4*bound { // the catalog keeps the texts of the 2,000 too
		t.Errorf("%d tokens take %d bytes of memory", w.cache.Len(), grown)
	}
	w.clean()
}

func TestTinyCacheStillAnswersAndKeepsSharedTokens(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.restart(0)
		shared := w.get(team, plain)
		for range 3 {
			w.get(app, plain)
		}
		if again := w.get(team, plain); !same(shared, again) || w.cache.Len() != 1 {
			t.Errorf("the same shared token %t, %d kept", same(shared, again), w.cache.Len())
		}
	})
}

func BenchmarkReusedToken(b *testing.B) {
	for name, req := range map[string]claims.Request{
		"plain":  plain,
		"claims": {Claims: `{"sub":"somebody@example.com","n":17}`},
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			defer w.cache.Close()
			draft := w.draft(app, req)
			ctx := b.Context()
			if _, err := w.cache.Token(ctx, w.signer, draft, w.clock.Now()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.cache.Token(ctx, w.signer, draft, w.clock.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			w := newWorld(b)
			defer w.cache.Close()
			draft := w.draft(app, req)
			ctx := b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.cache.Token(ctx, w.signer, draft, w.clock.Now()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
