package reuse_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

// The profiles of a world. Those that expire live for ten minutes.
const (
	once  = "once"  // a token for each request
	app   = "app"   // reused; takes the claims sub and n
	twin  = "twin"  // as app, under another name
	other = "other" // as app, with another key
	team  = "team"  // shared; no exp, 60 minutes, min_age 20
	grid  = "grid"  // as team, on a grid of 30 minutes, with iat a minute back
	ends  = "ends"  // reused, says the profile, and has no known end
)

// secret is a claim's value that no log may show.
const secret = "user-4711-secret"

// start is the wall clock's time when a world begins.
var start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// world is a cache with all that stands around it.
type world struct {
	t       testing.TB
	store   *backendtest.Fake
	config  signer.Config
	signer  *signer.Signer
	catalog *claims.Catalog
	policy  *policy.Policy
	cache   *reuse.Cache
	clock   *clock.Clock
	skew    atomic.Int64 // of the wall clock against time.Now
	log     *lockedBuffer
}

// lockedBuffer may be written to by several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func profiles() []claims.Profile {
	text := claims.Rule{Caller: &claims.CallerRule{Type: "string", MaxLength: 256}}
	number := claims.Rule{Caller: &claims.CallerRule{Type: "integer"}}
	iat, exp := claims.Rule{Computed: claims.IssueTime}, claims.Rule{Computed: claims.ExpireTime}
	reused := claims.Profile{
		Name: app, Key: "k", Typ: "JWT", DefaultTTL: 10 * time.Minute, MaxTTL: time.Hour,
		Rules: map[string]claims.Rule{"sub": text, "n": number, "iat": iat, "exp": exp},
		Reuse: claims.Reuse{Mode: claims.UntilRefresh},
	}
	shared := claims.Profile{
		Name: team, Key: "k", MaxAge: time.Hour,
		Rules: map[string]claims.Rule{"iat": iat},
		Reuse: claims.Reuse{Mode: claims.Shared, MinAge: 20 * time.Minute},
	}
	all := []claims.Profile{reused, shared}
	add := func(p claims.Profile, change func(*claims.Profile)) {
		change(&p)
		all = append(all, p)
	}
	add(reused, func(p *claims.Profile) { p.Name = twin })
	add(reused, func(p *claims.Profile) { p.Name, p.Key = other, "k2" })
	add(reused, func(p *claims.Profile) { p.Name, p.Reuse.Mode = once, claims.Never })
	add(shared, func(p *claims.Profile) { p.Name, p.Reuse.Grid, p.Backdate = grid, 30*time.Minute, time.Minute })
	add(shared, func(p *claims.Profile) { p.Name, p.MaxAge, p.Reuse = ends, 0, claims.Reuse{Mode: claims.UntilRefresh} })
	return all
}

// newWorld returns a world whose clock shows start. In a synctest bubble its
// time is that of the bubble.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: backendtest.NewFake(t, "id", "id2"), log: &lockedBuffer{}}
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.config = signer.Config{
		Stores: map[string]signer.Store{"s": {Backend: w.store, MaxInFlight: 64, MaxQueue: 64, MinTime: 100 * time.Millisecond}},
		Keys: []signer.Key{
			{Name: "k", Members: []signer.Member{{Store: "s", ID: "id"}}, KID: "kid-1"},
			{Name: "k2", Members: []signer.Member{{Store: "s", ID: "id2"}}, KID: "kid-2"},
		},
		Timeout: 10 * time.Second, Random: rand.Reader, Log: log,
	}
	w.signer = w.loaded(w.config)
	w.catalog = claims.New(profiles(), nil)
	uid := uint32(1)
	rule := policy.Rule{Name: "g", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}}
	for _, p := range profiles() {
		rule.Profiles = append(rule.Profiles, p.Name)
	}
	w.policy = policy.New([]policy.Rule{rule})
	w.restart(1 << 20)
	return w
}

// restart gives the world a new cache and a clock that shows start.
func (w *world) restart(maxBytes uint64) {
	zero := time.Now()
	w.skew.Store(int64(start.Sub(zero)))
	w.clock = clock.New(
		func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		func() time.Duration { return time.Since(zero) })
	w.cache = reuse.New(reuse.Config{MaxBytes: maxBytes, Random: rand.Reader, Log: w.config.Log})
}

func (w *world) loaded(cfg signer.Config) *signer.Signer {
	w.t.Helper()
	s, err := signer.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// step sets the wall clock forward, or back.
func (w *world) step(d time.Duration) { w.skew.Add(int64(d)) }

// draft approves a request.
func (w *world) draft(profile string, req claims.Request) claims.Draft {
	w.t.Helper()
	grant, err := w.policy.Decide(authn.FromUnix(authn.Unix{UID: 1}), profile)
	if err != nil {
		w.t.Fatal(err)
	}
	draft, err := w.catalog.Prepare(grant, req)
	if err != nil {
		w.t.Fatal(err)
	}
	return draft
}

// ask asks for a token.
func (w *world) ask(ctx context.Context, profile string, req claims.Request) (reuse.Token, error) {
	return w.cache.Token(ctx, w.signer, w.draft(profile, req), w.clock.Now())
}

// get asks for a token that has to come.
func (w *world) get(profile string, req claims.Request) reuse.Token {
	w.t.Helper()
	made, err := w.ask(w.t.Context(), profile, req)
	if err != nil {
		w.t.Fatalf("%s: %v", profile, err)
	}
	return made
}

// plain is a request of nothing but the profile.
var plain = claims.Request{}

// atLeast is a request for a token that is valid for d.
func atLeast(d time.Duration) claims.Request { return claims.Request{MinRemaining: &d} }

// same says whether two tokens are one.
func same(a, b reuse.Token) bool { return a.Compact.Reveal() == b.Compact.Reveal() }

// count runs f and returns how many signatures it cost.
func (w *world) count(f func()) int {
	before := w.store.Signed()
	f()
	return w.store.Signed() - before
}

// slow has every signature take d, or until its context ends.
func (w *world) slow(d time.Duration) {
	w.store.Fail(func(ctx context.Context, _, _ string) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// payload returns the claims set of a token.
func payload(t testing.TB, made reuse.Token) string {
	t.Helper()
	decoded, err := token.Decode(made.Compact.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded.Claims)
}

// clean fails the test when the log shows what it must not.
func (w *world) clean() {
	w.t.Helper()
	for _, never := range []string{"eyJ", secret, `\n`} {
		if strings.Contains(w.log.String(), never) {
			w.t.Errorf("the log shows %q: %s", never, w.log.String())
		}
	}
}

// inWorld runs a test in a bubble, whose goroutines must all have ended when
// the cache is closed.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		test(t, w)
		w.cache.Close()
		w.clean()
	})
}
