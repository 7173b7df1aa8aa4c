package reuse_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/signer"
)

// outcomes are what several callers got.
type outcomes struct {
	mu     sync.Mutex
	tokens []reuse.Token
	errs   []error
}

func (o *outcomes) add(made reuse.Token, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.errs = append(o.errs, err)
		return
	}
	o.tokens = append(o.tokens, made)
}

// one fails the test unless n callers got one token, and one of them as his.
func (o *outcomes) one(t *testing.T, n int) {
	t.Helper()
	if len(o.tokens) != n || len(o.errs) > 0 {
		t.Fatalf("%d tokens, errors %v", len(o.tokens), o.errs)
	}
	fresh := 0
	for _, made := range o.tokens {
		if !same(made, o.tokens[0]) {
			t.Fatal("two tokens")
		}
		if !made.Reused {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d callers were told that the token was made for them", fresh)
	}
}

// crowd has n more callers ask for the same token.
func (w *world) crowd(wg *sync.WaitGroup, n int, out *outcomes, req claims.Request) {
	for range n {
		wg.Go(func() { out.add(w.ask(w.t.Context(), app, req)) })
	}
}

func TestOneSignatureHoweverManyCallersWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.slow(3 * time.Second)
		var wg sync.WaitGroup
		var out outcomes
		signed := w.count(func() {
			w.crowd(&wg, 500, &out, plain)
			time.Sleep(2 * time.Second)
			w.crowd(&wg, 500, &out, plain) // who come later
			wg.Wait()
		})
		out.one(t, 1000)
		if signed != 1 {
			t.Errorf("%d signatures", signed)
		}
		if later := w.get(app, plain); !same(later, out.tokens[0]) || !later.Reused {
			t.Error("a later caller got another token")
		}
	})
}

func TestOneSignatureUnderRealThreads(t *testing.T) {
	w := newWorld(t)
	defer w.cache.Close()
	for round := range 50 {
		var wg sync.WaitGroup
		var out outcomes
		n := int64(round)
		draft := w.draft(app, claims.Request{Claims: `{"n":` + string(rune('0'+n%10)) + `,"sub":"` + string(rune('a'+n/10)) + `"}`})
		signed := w.count(func() {
			for range 64 {
				wg.Go(func() {
					runtime.Gosched()
					out.add(w.cache.Token(t.Context(), w.signer, draft, w.clock.Now()))
				})
			}
			wg.Wait()
		})
		out.one(t, 64) // who missed the landing among them
		if signed != 1 {
			t.Fatalf("%d signatures", signed)
		}
	}
}

func TestWhoMissedTheLandingDoesNotSignAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, profile := range []string{app, team} {
			looked := w.clock.Now()
			time.Sleep(time.Second)
			made := w.get(profile, plain)
			w.step(10 * time.Second) // to which the late one's reading is no witness
			signed := w.count(func() {
				late, err := w.cache.Missed(t.Context(), w.signer, w.draft(profile, plain), looked)
				if err != nil || !same(made, late) || !late.Reused {
					t.Errorf("%s: the same token %t, reused %t, %v", profile, same(made, late), late.Reused, err)
				}
			})
			if signed != 0 {
				t.Errorf("%s: signed again", profile)
			}
		}
	})
}

func TestFirstCallersCancellationAndDeadlineFailNobodyElse(t *testing.T) {
	for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": context.WithCancel,
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.slow(3 * time.Second)
				ctx, cancel := limit(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				var first, others outcomes
				asked := time.Now()
				wg.Go(func() {
					first.add(w.ask(ctx, app, plain))
					if waited := time.Since(asked); waited > time.Second {
						t.Errorf("he left after %v", waited)
					}
				})
				synctest.Wait()
				w.crowd(&wg, 10, &others, plain)
				time.Sleep(time.Second)
				cancel()
				wg.Wait()
				if len(first.errs) != 1 || !errors.Is(first.errs[0], ctx.Err()) {
					t.Errorf("the first caller: %v", first.errs)
				}
				others.one(t, 10)
			})
		})
	}
}

func TestTokenOfACallerWhoLeftIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.slow(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.ask(ctx, app, plain); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if signed := w.count(func() { w.get(app, plain) }); signed != 0 {
			t.Error("it was signed again")
		}
	})
}

// panicky panics in the goroutine that works for it.
type panicky struct{ context.Context } //nolint:containedctx // it is one

func (panicky) Value(any) any { panic("the first caller's") }

func TestFirstCallersPanicFailsNobodyElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Fail(func(ctx context.Context, _, _ string) error {
			time.Sleep(time.Second)
			_ = ctx.Value("trace") // as an interceptor would
			return nil
		})
		var wg sync.WaitGroup
		var first, others outcomes
		wg.Go(func() { first.add(w.ask(panicky{t.Context()}, app, plain)) })
		synctest.Wait()
		w.crowd(&wg, 100, &others, plain)
		wg.Wait()
		if len(first.errs) != 1 {
			t.Errorf("the first caller: %v", first.errs)
		}
		others.one(t, 100)
	})
}

func TestPanickingStoreEndsNoProcessAndIsTriedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var calls atomic.Int64
		broken := true
		w.store.Fail(func(context.Context, string, string) error {
			if broken {
				calls.Add(1)
				panic(secret)
			}
			return nil
		})
		var wg sync.WaitGroup
		var out outcomes
		w.crowd(&wg, 100, &out, plain)
		wg.Wait()
		if len(out.errs) != 100 || calls.Load() > 101 {
			t.Errorf("%d of 100 failed, after %d calls", len(out.errs), calls.Load())
		}
		broken = false
		w.get(app, plain)
	})
}

func TestStoresErrorReachesAllWhoWaitAndIsNotKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var calls atomic.Int64
		w.store.Fail(func(_ context.Context, op, id string) error {
			calls.Add(1)
			time.Sleep(time.Second)
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
		})
		var wg sync.WaitGroup
		var out outcomes
		w.crowd(&wg, 100, &out, plain)
		wg.Wait()
		for _, err := range out.errs {
			if !errors.Is(err, backends.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
		if len(out.errs) != 100 || calls.Load() != 1 {
			t.Errorf("%d of 100 failed, after %d calls", len(out.errs), calls.Load())
		}
		w.store.Fail(nil)
		w.get(app, plain) // at once
	})
}

func TestWhoNeedsMoreThanTheFlightBringsGetsAnotherToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.slow(4 * time.Second)
		var wg sync.WaitGroup
		var first, second outcomes
		w.crowd(&wg, 10, &first, plain)
		time.Sleep(2 * time.Second)
		w.crowd(&wg, 10, &second, atLeast(10*time.Minute-time.Second))
		signed := w.count(wg.Wait)
		first.one(t, 10)
		second.one(t, 10)
		if same(first.tokens[0], second.tokens[0]) || signed != 2 {
			t.Errorf("%d signatures; the token of less life was handed out: %t", signed, same(first.tokens[0], second.tokens[0]))
		}
	})
}

func TestClosedSignerOfAFormerConfigurationFailsNoNewCall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		former := w.signer
		w.store.Fail(func(_ context.Context, op, id string) error {
			time.Sleep(time.Second)
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrClosed}
		})
		var wg sync.WaitGroup
		var old, current outcomes
		w.crowd(&wg, 1, &old, plain)
		synctest.Wait()
		w.store.Fail(nil)
		w.signer = w.loaded(w.config)
		if former == w.signer {
			t.Fatal("one signer")
		}
		w.crowd(&wg, 10, &current, plain)
		wg.Wait()
		if len(old.errs) != 1 {
			t.Errorf("the old call: %v", old.errs)
		}
		current.one(t, 10)
	})
}

func TestTooLittleTimeSpendsNoSignature(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.get(twin, plain)
		for _, profile := range []string{app, once, team} {
			ctx, cancel := context.WithTimeout(t.Context(), 110*time.Millisecond) // 20 are kept back
			signed := w.count(func() {
				if _, err := w.ask(ctx, profile, plain); !errors.Is(err, signer.ErrNoTime) {
					t.Errorf("%s: %v", profile, err)
				}
				synctest.Wait()
			})
			if signed != 0 {
				t.Errorf("%s: %d signatures", profile, signed)
			}
			if _, err := w.ask(ctx, twin, plain); err != nil {
				t.Errorf("a kept token takes no time: %v", err)
			}
			cancel()
			if _, err := w.ask(ctx, profile, plain); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: after the end: %v", profile, err)
			}
		}
	})
}

func TestCloseWaitsForFlightsAndRefusesNewOnes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kept := w.get(twin, plain)
		w.slow(3 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = w.ask(ctx, app, plain) })
		synctest.Wait()
		cancel()
		wg.Wait() // the caller has left, his flight has not
		began := time.Now()
		w.cache.Close()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		w.get(app, plain) // landed before
		if again := w.get(twin, plain); !same(kept, again) {
			t.Error("a kept token is gone")
		}
		signed := w.count(func() {
			if _, err := w.ask(t.Context(), app, claims.Request{Claims: `{"n":1}`}); !errors.Is(err, backends.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			time.Sleep(6 * time.Minute)
			w.get(twin, plain) // due, and not refreshed
			synctest.Wait()
		})
		if signed != 0 {
			t.Errorf("%d signatures after Close", signed)
		}
		w.cache.Close()
	})
}

func TestCloseBesideCallersLosesNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.slow(time.Second)
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				req := claims.Request{Claims: `{"n":` + string(rune('0'+i%10)) + `}`}
				if _, err := w.ask(t.Context(), app, req); err != nil && !errors.Is(err, backends.ErrClosed) {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second + time.Millisecond)
		w.cache.Close()
		wg.Wait()
	})
}
