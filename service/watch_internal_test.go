package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/signer"
)

// watched is a Service over a fake store, with the tokens that its watches got.
type watched struct {
	*Service
	store *backendtest.Fake
	in    *Generation

	mu      sync.Mutex
	got     []received
	unknown error // why the caller is nobody
}

// received is a token and when it came.
type received struct {
	*jotsmithv1.MintTokenResponse
	at time.Time
}

// generation returns a Generation of one profile "p" that uid 1 may mint.
func generation(t *testing.T, id string, store *backendtest.Fake, profile claims.Profile, granted bool) *Generation {
	t.Helper()
	keys, err := signer.New(signer.Config{
		Stores:  map[string]signer.Store{"s": {Backend: store, MaxInFlight: 64, MaxQueue: 64, MinTime: time.Millisecond}},
		Keys:    []signer.Key{{Name: "k", Members: []signer.Member{{Store: "s", ID: "id"}}, KID: "kid-" + id}},
		Timeout: 10 * time.Second,
		Random:  rand.Reader,
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := &Generation{ID: id, Policy: policy.New(nil), Claims: claims.New([]claims.Profile{profile}, nil), Signer: keys}
	if granted {
		uid := uint32(1)
		in.Policy = policy.New([]policy.Rule{{
			Name: "g", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{"p"},
		}})
	}
	return in
}

func watchedProfile() claims.Profile {
	return claims.Profile{
		Name: "p", Key: "k", Typ: "JWT", DefaultTTL: 10 * time.Minute, MaxTTL: time.Hour,
		Reuse: claims.Reuse{Mode: claims.UntilRefresh},
		Rules: map[string]claims.Rule{"iat": {Computed: claims.IssueTime}, "exp": {Computed: claims.ExpireTime}},
	}
}

// newWatched must run in a synctest bubble, whose clock stands in the year 2000:
// the wall clock is put 27 years on.
func newWatched(t *testing.T, profile claims.Profile) *watched {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	minted, err := ledger.Open("", rand.Reader, log)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{store: backendtest.NewFake(t, "id")}
	w.in = generation(t, "one", w.store, profile, true)
	start := time.Now()
	tokens := reuse.New(reuse.Config{MaxBytes: 1 << 20, Random: rand.Reader, Log: log})
	t.Cleanup(tokens.Close)
	w.Service = New(Config{
		First:   w.in,
		Clock:   clock.New(wall, func() time.Duration { return time.Since(start) }),
		Tokens:  tokens,
		Ledger:  minted,
		Watches: WatchLimits{PerCaller: 2, Total: 3},
		Random:  rand.Reader,
		Log:     log,
	})
	return w
}

func wall() time.Time { return time.Now().AddDate(27, 0, 0) }

// caller is who watches.
func (w *watched) caller(context.Context, *Generation) (authn.Caller, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return authn.FromUnix(authn.Unix{UID: 1}), w.unknown
}

// start runs a watch and returns what brings its end.
func (w *watched) start(ctx context.Context) <-chan error {
	end := make(chan error, 1)
	running := &watch{
		service: w.Service, known: w.caller, request: &jotsmithv1.MintTokenRequest{Profile: "p"},
		send: func(resp *jotsmithv1.WatchTokenResponse) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.got = append(w.got, received{resp.GetToken(), wall()})
			return nil
		},
	}
	go func() { end <- w.follow(ctx, running) }()
	return end
}

func (w *watched) tokens() []received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]received(nil), w.got...)
}

// still fails where a watch has ended.
func still(t *testing.T, end <-chan error) {
	t.Helper()
	select {
	case err := <-end:
		t.Fatalf("the watch ended: %v", err)
	default:
	}
}

func inBubble(t *testing.T, profile claims.Profile, test func(t *testing.T, w *watched, end <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, profile)
		ctx, cancel := context.WithCancel(t.Context())
		end := w.start(ctx)
		synctest.Wait()
		test(t, w, end)
		cancel()
		synctest.Wait()
	})
}

func TestWatchSendsATokenNowAndANewOneBeforeEachExpiry(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		time.Sleep(time.Hour)
		synctest.Wait()
		still(t, end)
		got := w.tokens()
		if len(got) < 9 || len(got) > 13 { // every 5 to 6 min 40 s
			t.Errorf("%d tokens in an hour", len(got))
		}
		for i, token := range got {
			left := token.GetExpireTime().AsTime().Sub(token.at)
			if left < 590*time.Second {
				t.Errorf("token %d came with %v left", i, left)
			}
			if i == 0 {
				continue
			}
			if token.GetToken() == got[i-1].GetToken() {
				t.Errorf("token %d is the one before", i)
			}
			if held := got[i-1].GetExpireTime().AsTime().Sub(token.at); held < 190*time.Second {
				t.Errorf("token %d came %v before the last one's expiry", i, held)
			}
		}
	})
}

func TestWatchersOfOneTokenShareItsSignatures(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, _ <-chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		before := w.store.Signed()
		for range 100 {
			w.start(ctx)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if signed := w.store.Signed() - before; signed > 12 {
			t.Errorf("%d signatures for 101 watches of an hour", signed)
		}
		cancel()
	})
}

func TestWatchOfASharedTokenFollowsTheGrid(t *testing.T) {
	profile := watchedProfile()
	delete(profile.Rules, "exp")
	profile.MaxAge, profile.Backdate = time.Hour, time.Minute
	profile.Reuse = claims.Reuse{Mode: claims.Shared, MinAge: 20 * time.Minute, Grid: 30 * time.Minute}
	inBubble(t, profile, func(t *testing.T, w *watched, end <-chan error) {
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		still(t, end)
		got := w.tokens()
		if len(got) != 9 {
			t.Fatalf("%d tokens in four hours", len(got))
		}
		for i, token := range got[1:] {
			if gap := token.GetIssueTime().AsTime().Sub(got[i].GetIssueTime().AsTime()); gap != 30*time.Minute {
				t.Errorf("token %d: iat is %v after the last", i+1, gap)
			}
			late := token.at.Sub(token.GetIssueTime().AsTime()) - time.Minute
			if late < 0 || late > 5*time.Second {
				t.Errorf("token %d came %v after its time", i+1, late)
			}
		}
	})
}

func TestWatchOutlivesAnOutageWhileItsTokenIsValid(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.store.FailWith(backends.ErrUnavailable)
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		still(t, end)
		if n := len(w.tokens()); n != 1 {
			t.Errorf("%d tokens during the outage", n)
		}
		w.store.FailWith(nil)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		still(t, end)
		if n := len(w.tokens()); n != 2 {
			t.Errorf("%d tokens half a minute after the outage", n)
		}
	})
}

func TestWatchEndsWithTheReasonWhenItsTokenHasExpired(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.store.FailWith(backends.ErrUnavailable)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if err := <-end; !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchThatGetsNoTokenAtFirstEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, watchedProfile())
		w.store.FailWith(backends.ErrUnavailable)
		if err := <-w.start(t.Context()); !errors.Is(err, backends.ErrUnavailable) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchGetsAnotherTokenWhenKeyOrProfileChange(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.Replace(generation(t, "two", w.store, watchedProfile(), true)) // another kid
		synctest.Wait()
		got := w.tokens()
		if len(got) != 2 || got[1].GetKid() != "kid-two" || got[1].GetConfigGeneration() != "two" {
			t.Fatalf("after the key's change: %v", got)
		}
		profile := watchedProfile()
		profile.Typ = "at+jwt"
		w.Replace(generation(t, "two", w.store, profile, true))
		synctest.Wait()
		if n := len(w.tokens()); n != 3 {
			t.Errorf("%d tokens after the profile's change", n)
		}
		w.KeysChanged() // and nothing has
		synctest.Wait()
		if n := len(w.tokens()); n != 3 {
			t.Errorf("%d tokens after no change", n)
		}
		still(t, end)
	})
}

func TestWatchEndsAtOnceWhenTheGrantIsTakenAway(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.Replace(generation(t, "two", w.store, watchedProfile(), false))
		synctest.Wait()
		if err := <-end; !errors.Is(err, policy.ErrNotGranted) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchEndsWhenItsCallerIsKnownNoLonger(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.mu.Lock()
		w.unknown = unauthenticated("his CA was removed")
		w.mu.Unlock()
		w.Replace(generation(t, "two", w.store, watchedProfile(), true)) // as a reload of the CAs does
		synctest.Wait()
		if err := <-end; !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchEndsWhenTheKeyIsTakenAway(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.store.FailWith(backends.ErrKeyDisabled)
		time.Sleep(7 * time.Minute) // the refresh finds out
		synctest.Wait()
		if err := <-end; !errors.Is(err, backends.ErrKeyDisabled) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestDrainEndsEveryWatchAndLetsNoneIn(t *testing.T) {
	inBubble(t, watchedProfile(), func(t *testing.T, w *watched, end <-chan error) {
		w.Drain()
		w.Drain()
		synctest.Wait()
		if err := <-end; toStatus(err).Code() != codes.Unavailable || reasonOf(toStatus(err)) != "DRAINING" {
			t.Errorf("ended with %v", err)
		}
		if err := w.watches.enter(authn.FromUnix(authn.Unix{UID: 1})); !errors.Is(err, errDraining) {
			t.Errorf("a watch after the drain: %v", err)
		}
	})
}

func TestWatchesAreBoundedForEachCallerAndInAll(t *testing.T) {
	w := newWatches(WatchLimits{PerCaller: 2, Total: 3})
	callers := []authn.Caller{authn.FromUnix(authn.Unix{UID: 1}), authn.FromUnix(authn.Unix{UID: 2})}
	var leave []func()
	enter := func(i int) error {
		err := w.enter(callers[i])
		if err == nil {
			leave = append(leave, func() { w.leave(callers[i]) })
		}
		return err
	}
	for i, want := range []error{nil, nil, errTooManyWatches} {
		if err := enter(0); !errors.Is(err, want) {
			t.Errorf("watch %d of the first caller: %v", i, err)
		}
	}
	if err := errors.Join(enter(1)); err != nil {
		t.Errorf("the second caller's: %v", err)
	}
	if err := enter(1); !errors.Is(err, errTooManyWatches) {
		t.Errorf("a fourth in all: %v", err)
	}
	for _, out := range leave {
		out()
	}
	if fmt.Sprint(w.open, w.total) != "map[] 0" {
		t.Errorf("left behind: %v, %d", w.open, w.total)
	}
}
