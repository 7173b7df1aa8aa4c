package signer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

func TestSilentPlaceCostsItsFirstCallsAndNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		for _, store := range stores {
			store.fail(slowly(10 * time.Millisecond))
		}
		s := loaded(t, cfg)
		running(t, s)
		stores[0].fail(blackHole)
		took := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			began := time.Now()
			if _, err := s.Sign(ctx, approved(t)); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if d := took(); d > 270*time.Millisecond {
					t.Errorf("one of the first calls took %v", d)
				}
			})
		}
		wg.Wait()
		for range 1000 {
			if d := took(); d > 10*time.Millisecond {
				t.Fatalf("a later call took %v", d)
			}
		}
		stores[0].fail(slowly(10 * time.Millisecond))
		time.Sleep(2 * time.Minute)
		if m := member(t, s, "s1"); m.Fault != nil || !m.First {
			t.Errorf("once it answers again: %+v", m)
		}
	})
}

func TestSilenceWithinShortDeadlinesCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		for _, store := range stores {
			store.fail(slowly(10 * time.Millisecond))
		}
		s := loaded(t, cfg)
		stores[0].fail(blackHole)
		call := func(left time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			began := time.Now()
			_, err := s.Sign(ctx, approved(t))
			return time.Since(began), err
		}
		// 100 ms are kept for the second, and 20 for the answer.
		for range 3 {
			if d, err := call(200 * time.Millisecond); err != nil || d != 90*time.Millisecond {
				t.Errorf("after %v: %v", d, err)
			}
		}
		if d, err := call(200 * time.Millisecond); err != nil || d != 10*time.Millisecond {
			t.Errorf("after three silences: after %v: %v", d, err)
		}
		if !errors.Is(member(t, s, "s1").Fault, backends.ErrUnavailable) {
			t.Errorf("member %+v", member(t, s, "s1"))
		}
	})
}

func TestCallersWithTimeForOneAloneFindOutToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		for _, store := range stores {
			store.fail(slowly(10 * time.Millisecond))
		}
		s := loaded(t, cfg)
		stores[0].fail(blackHole)
		var errs []error
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 130*time.Millisecond)
			_, err := s.Sign(ctx, approved(t))
			cancel()
			errs = append(errs, err)
		}
		for _, err := range errs[:3] {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while nobody knows: %v", err)
			}
		}
		if errs[3] != nil {
			t.Errorf("after three silences: %v", errs[3])
		}
	})
}

func TestHurriedCallersPutNoPlaceOutOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		for _, store := range stores {
			store.fail(slowly(150 * time.Millisecond))
		}
		s := loaded(t, cfg)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 160*time.Millisecond)
			if _, err := s.Sign(ctx, approved(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("too little time for either: %v", err)
			}
			cancel()
		}
		if s.Fault("k") != nil || member(t, s, "s1").Fault != nil {
			t.Errorf("members %+v", s.Members("k"))
		}
	})
}

// One answer in 250 that does not come is no silence; one in four is.
func TestPlaceThatLosesCallsIsOutOfUseWhenItLosesMany(t *testing.T) {
	for lost, out := range map[int]bool{250: false, 4: true} {
		synctest.Test(t, func(t *testing.T) {
			cfg, stores := places(t, 2)
			var log bytes.Buffer
			cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			s := loaded(t, cfg)
			var calls atomic.Int64
			stores[0].fail(func(ctx context.Context, op, id string) error {
				if calls.Add(1)%int64(lost) == 0 {
					return blackHole(ctx, op, id)
				}
				return slowly(10*time.Millisecond)(ctx, op, id)
			})
			stores[1].fail(slowly(10 * time.Millisecond))
			var wg sync.WaitGroup
			set := approved(t)
			for range 4 { // so that somebody has an answer while another waits
				wg.Go(func() {
					for range 250 {
						if _, err := s.Sign(t.Context(), set); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if strings.Contains(log.String(), "key cannot sign here") != out {
				t.Errorf("one in %d: %s", lost, log.String())
			}
		})
	}
}

func TestManyCallersWhilePlacesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, stores := places(t, 2)
		for name, store := range cfg.Stores {
			store.MaxInFlight, store.MaxQueue = 64, 64
			cfg.Stores[name] = store
		}
		for _, store := range stores {
			store.fail(slowly(near))
		}
		s := loaded(t, cfg)
		running(t, s)
		set := approved(t)
		ctx, stop := context.WithCancel(t.Context())
		var changed, total, slow atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					call, cancel := context.WithTimeout(t.Context(), time.Second)
					began := time.Now()
					_, err := s.Sign(call, set)
					cancel()
					took := time.Since(began)
					if err != nil || took > time.Second {
						t.Errorf("after %v: %v", took, err)
					}
					if total.Add(1); took > 2*near && time.Duration(time.Now().UnixNano()-changed.Load()) > 2*time.Second {
						slow.Add(1)
					}
					time.Sleep(250 * time.Millisecond)
				}
			})
		}
		for i, m := range moods() {
			bad := stores[i%2]
			changed.Store(time.Now().UnixNano())
			bad.fail(m.fault)
			time.Sleep(5 * time.Second)
			changed.Store(time.Now().UnixNano())
			bad.fail(slowly(near))
			time.Sleep(70 * time.Second) // it has to be back before the other goes
		}
		stop()
		wg.Wait()
		t.Logf("%d calls, %d of them slow once the fault was known", total.Load(), slow.Load())
		if slow.Load()*1000 > total.Load() {
			t.Errorf("%d of %d calls were slow once the fault was known", slow.Load(), total.Load())
		}
	})
}
