package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/signer"
)

// making is what the model knows of a token.
type making struct {
	at     clock.Reading
	wall   time.Time
	issued time.Time // once it was seen
}

// model is the cache as its promises describe it, with a clock that stands
// between two actions.
type model struct {
	*world
	wall    time.Time
	mono    time.Duration
	signers map[string]*signer.Signer // by kid
	kid     string
	fault   error // of the store; nil where it signs

	seen   map[string]*making // by the token
	newest map[string]*making // by kid and request
}

// newModel returns the model of a new cache and a new clock.
func newModel(w *world, signers map[string]*signer.Signer) *model {
	w.restart(1 << 20)
	m := &model{world: w, wall: start, signers: signers, kid: "kid-1", seen: map[string]*making{}, newest: map[string]*making{}}
	m.clock = clock.New(func() time.Time { return m.wall }, func() time.Duration { return m.mono })
	m.store.Fail(func(_ context.Context, op, id string) error {
		if m.fault == nil {
			return nil
		}
		return &backends.Error{Op: op, KeyID: id, Kind: m.fault}
	})
	for _, m.signer = range signers {
		w.get(once, plain) // no fault of an earlier run is left
	}
	return m
}

// limits says whether the promises let a token be handed out at now.
func (m *model) limits(p *claims.Profile, made *making, now clock.Reading, least time.Duration) error {
	age := now.Mono - made.at.Mono
	const ttl = 10 * time.Minute
	// iat has no fraction of a second, and is earlier than the making by what the grid
	// and the backdate say.
	life := made.issued.Add(p.Backdate + ttl).Sub(made.wall)
	if !p.Expires() {
		life = made.issued.Add(p.MaxAge).Sub(made.wall)
	}
	shared := p.Mode() == claims.Shared
	wall, err := now.Time()
	early := shared && (p.Reuse.Grid == 0 && age < p.Reuse.MinAge ||
		p.Reuse.Grid > 0 && err == nil && wall.Before(made.issued.Add(p.Reuse.Grid+p.Backdate)))
	third := p.MaxAge / 3
	if p.Expires() {
		third = ttl / 3
	} else {
		third -= p.Backdate / 3
	}
	switch {
	case made.at.Steps.Forward != now.Steps.Forward:
		return errors.New("the clock has stepped forward since it was made")
	case !shared && made.at.Steps.Backward != now.Steps.Backward:
		return errors.New("the clock has stepped back since it was made")
	case life-age < third:
		return fmt.Errorf("%v of its life are left", life-age)
	case life-age < least && !early:
		return fmt.Errorf("%v are left, and the caller needs %v", life-age, least)
	}
	return nil
}

// request asks for a token and holds the answer to the model.
func (m *model) request(rt *rapid.T) {
	profile := rapid.SampledFrom([]string{app, app, team, grid, once}).Draw(rt, "profile")
	req := plain
	if profile == app {
		req.Claims = rapid.SampledFrom([]string{"", `{"n":1}`, `{"n":2}`}).Draw(rt, "claims")
	}
	if profile != once && rapid.IntRange(0, 3).Draw(rt, "asks for more") == 0 {
		most := map[string]int{app: 590, team: 2400, grid: 1700}[profile]
		req = claims.Request{Claims: req.Claims, MinRemaining: atLeast(time.Duration(rapid.IntRange(0, most).Draw(rt, "seconds")) * time.Second).MinRemaining}
	}
	m.signer = m.signers[m.kid]
	draft := m.draft(profile, req)
	p, key := draft.Profile(), m.kid+" "+profile+" "+req.Claims
	now := m.clock.Now()
	wall, untrusted := now.Time()
	_, revoked := m.signer.Version("k")

	var made reuse.Token
	var err error
	signed := m.count(func() {
		made, err = m.cache.Token(m.t.Context(), m.signer, draft, now)
		m.cache.Settle()
	})
	before := m.newest[key]
	if signed > 1 || signed == 1 && untrusted != nil {
		rt.Fatalf("%d signatures for one request; the clock: %v", signed, untrusted)
	}
	if signed == 1 && profile != once {
		if before != nil && before.at.Steps.Forward == now.Steps.Forward {
			age := now.Mono - before.at.Mono
			if p.Reuse.Grid == 0 && age < p.Reuse.MinAge {
				rt.Fatalf("%s was made anew after %v", profile, age)
			}
			if p.Reuse.Grid > 0 && before.at.Steps == now.Steps && !wall.Before(before.wall) &&
				!wall.Before(before.issued) && wall.Before(before.issued.Add(p.Reuse.Grid+p.Backdate)) && age < 20*time.Minute {
				rt.Fatalf("%s was made anew in the window of %v", profile, before.issued)
			}
		}
		m.newest[key] = &making{at: now, wall: wall, issued: wall.Truncate(time.Second)}
		if p.Reuse.Grid > 0 {
			m.newest[key].issued = wall.Add(-p.Backdate).Truncate(p.Reuse.Grid)
		}
	}
	if err != nil {
		later := now
		later.Mono++ // at its very end a token need not be handed out
		had := revoked == nil && before != nil && profile != once && m.limits(p, before, later, draft.MinRemaining()) == nil
		m.failed(rt, err, untrusted, revoked, had)
		return
	}
	if revoked != nil && profile != once {
		rt.Fatalf("%s: a token, and %v", profile, revoked)
	}
	text := made.Compact.Reveal()
	known := m.seen[text]
	switch {
	case made.KID != m.kid:
		rt.Fatalf("kid %s in place of %s", made.KID, m.kid)
	case profile == once:
		if known != nil || made.Reused || signed != 1 {
			rt.Fatalf("one-time token: seen %t, reused %t, signatures %d", known != nil, made.Reused, signed)
		}
		m.seen[text] = &making{}
		return
	case known == nil && !made.Reused: // made for this request
		known = m.newest[key]
	case known == nil: // made in the background by an earlier one
		known = before
	case !made.Reused:
		rt.Fatalf("%s: handed out before, and not said to be reused", profile)
	}
	if known == nil || !known.issued.Equal(made.IssueTime) {
		rt.Fatalf("%s: nobody made the token issued at %v: %+v", profile, made.IssueTime, known)
	}
	m.seen[text] = known
	if err := m.limits(p, known, now, draft.MinRemaining()); err != nil && made.Reused {
		rt.Fatalf("%s: %v", profile, err)
	}
}

// failed holds an error to the model.
func (m *model) failed(rt *rapid.T, err, untrusted, revoked error, had bool) {
	switch {
	case had:
		rt.Fatalf("%v, and there was a token to hand out", err)
	case errors.Is(err, clock.ErrUntrusted) && untrusted != nil:
	case m.fault != nil && errors.Is(err, m.fault):
	case revoked != nil && err == revoked: //nolint:errorlint // the very one
	default:
		rt.Fatalf("%v; the store: %v, the clock: %v", err, m.fault, untrusted)
	}
}

func TestPromisesHoldWhateverHappens(t *testing.T) {
	w := newWorld(t)
	signers := map[string]*signer.Signer{}
	for _, kid := range []string{"kid-1", "kid-9"} {
		cfg := w.config
		cfg.Keys = []signer.Key{{Name: "k", Members: []signer.Member{{Store: "s", ID: "id"}}, KID: kid}}
		signers[kid] = w.loaded(cfg)
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(w, signers)
		defer m.cache.Close()
		pass := func(d time.Duration) { m.wall, m.mono = m.wall.Add(d), m.mono+d }
		rt.Repeat(map[string]func(*rapid.T){
			"request": m.request,
			"again":   m.request,
			"more":    m.request,
			"time passes": func(rt *rapid.T) {
				pass(time.Duration(rapid.IntRange(1, 400_000).Draw(rt, "ms")) * time.Millisecond)
				m.clock.Now()
			},
			"much time passes": func(rt *rapid.T) {
				pass(time.Duration(rapid.IntRange(1, 4000).Draw(rt, "s")) * time.Second)
				m.clock.Now()
			},
			"step": func(rt *rapid.T) {
				m.wall = m.wall.Add(time.Duration(rapid.SampledFrom([]int{-1000, -6, -4, 4, 6, 1000}).Draw(rt, "s")) * time.Second)
				m.clock.Now()
			},
			"outage": func(rt *rapid.T) {
				m.fault = rapid.SampledFrom([]error{nil, backends.ErrUnavailable, backends.ErrKeyDisabled}).Draw(rt, "fault")
			},
			"heal": func(*rapid.T) { m.fault = nil },
			"reload": func(*rapid.T) {
				m.kid = map[string]string{"kid-1": "kid-9", "kid-9": "kid-1"}[m.kid]
			},
		})
	})
}
