package rotation

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"
)

// TestNoVerifierEverMeetsATokenWhoseKIDItCouldNotKnow runs thousands of
// rotations, by schedule and by hand, of one server and of three that share a
// Store, which stop, start, crash in the middle of a change, lose their ledgers
// and sign late, before verifiers
// that keep what they fetched for as long as they may, from 5 minutes to 24
// hours, and never fetch for a kid that they do not know.
func TestNoVerifierEverMeetsATokenWhoseKIDItCouldNotKnow(t *testing.T) {
	der := [][]byte{spki(t), spki(t), spki(t), spki(t), spki(t), spki(t)}
	rotations, gone, tokens := 0, 0, 0
	for seed := range uint64(75) {
		w := newWorld(t, dice{mathrand.New(mathrand.NewPCG(seed, 27))}, der)
		for range 400 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d, at %v", seed, w.now.Sub(noon))
			}
		}
		rotations += w.count(Active)
		gone += w.count(Gone)
		tokens += w.minted
	}
	t.Logf("%d rotations, %d versions taken back, %d tokens", rotations, gone, tokens)
	if rotations < 2000 || gone < 1500 || tokens < 30_000 {
		t.Error("too few of them to say anything")
	}
}

// world is servers, tokens and verifiers on one clock.
type world struct {
	t         *testing.T
	r         dice
	der       [][]byte
	store     *memory
	terms     Terms
	now       time.Time
	versions  int
	servers   []*server
	down      map[*server]bool
	tokens    []tok
	verifiers []*verifier
	books     int
	minted    int
	moved     map[Standing]int
}

// dice are random numbers that come again with the seed.
type dice struct{ *mathrand.Rand }

// upTo returns a duration from 0 to below d.
func (d dice) upTo(most time.Duration) time.Duration { return time.Duration(d.Int64N(int64(most))) }

type tok struct {
	kid string
	end time.Time
}

// verifier keeps the published kids for a time, and is slow by a clock.
type verifier struct {
	keeps   time.Duration
	slow    time.Duration
	fetched time.Time
	kids    map[string]bool
}

func newWorld(t *testing.T, r dice, der [][]byte) *world {
	w := &world{
		t: t, r: r, der: der, store: &memory{}, now: noon, down: map[*server]bool{}, moved: map[Standing]int{},
		terms: Terms{
			VerifierCache: 5*time.Minute + r.upTo(24*time.Hour-5*time.Minute),
			Longest:       time.Minute + r.upTo(48*time.Hour),
		},
	}
	if r.IntN(2) == 0 {
		w.terms.Every = time.Hour + r.upTo(60*time.Hour)
	}
	w.grow()
	w.grow()
	for range 1 + 2*r.IntN(2) {
		s := &server{now: noon}
		w.servers = append(w.servers, s)
		w.boot(s, true)
	}
	for range 8 {
		w.verifiers = append(w.verifiers, &verifier{keeps: min(5*time.Minute+r.upTo(24*time.Hour), w.terms.VerifierCache), slow: r.upTo(Skew)})
	}
	return w
}

// grow adds a version to the configuration of all servers, and takes the oldest
// out that have signed and will not again.
func (w *world) grow() {
	w.versions++
	kid := fmt.Sprintf("v%d", w.versions)
	w.terms.Candidates = append(w.terms.Candidates, Candidate{Place: kid, KID: kid, SPKI: w.der[w.versions%len(w.der)], Able: true})
	for len(w.terms.Candidates) > 4 && w.rests(w.terms.Candidates[0].KID) {
		w.terms.Candidates = w.terms.Candidates[1:]
	}
	for _, s := range w.servers {
		s.ring.terms = w.terms
	}
}

func (w *world) rests(kid string) bool {
	k := w.store.state.Keys["k"]
	v := k.find(kid)
	return v == nil || v.Standing == Retired || v.Standing == Gone
}

// boot starts a server; with a new ledger it has forgotten what it signed.
func (w *world) boot(s *server, forgotten bool) {
	if forgotten {
		w.books++
		s.book = &book{id: fmt.Sprint(w.books), ends: map[string]time.Time{}}
	}
	w.store.crash = nil
	s.ring = &ring{terms: w.terms}
	s.now = w.now
	s.open(w.t, w.store)
	if err := s.Prepare(context.Background(), s.ring); err != nil {
		w.t.Fatal(err)
	}
	s.Adopt(context.Background(), s.ring)
	w.down[s] = false
}

// count returns how many versions came to stand so.
func (w *world) count(to Standing) int {
	n := w.moved[to]
	for _, s := range w.servers {
		for _, c := range s.changes {
			if c.To == to {
				n++
			}
		}
	}
	return n
}

// step lets time go by, to a moment at which something is due or to any, and
// then lets everybody do something, in any order.
func (w *world) step() {
	dt := w.r.upTo(w.terms.VerifierCache / 2)
	if w.r.IntN(3) == 0 {
		dt = w.r.upTo(Settle / 2)
	} else if steps := plan(w.store.state.Keys["k"], w.terms, w.servers[0].book, w.now); len(steps) > 0 && w.r.IntN(2) == 0 {
		if due := steps[w.r.IntN(len(steps))].Time.Sub(w.now); due > 0 {
			dt = min(due, w.terms.VerifierCache+w.terms.Longest)
		}
	}
	w.now = w.now.Add(dt.Truncate(time.Second))
	for range 12 {
		w.now = w.now.Add(w.r.upTo(3 * time.Second).Truncate(time.Second))
		s := w.servers[w.r.IntN(len(w.servers))]
		switch w.r.IntN(8) {
		case 0:
			w.disturb(s)
		case 1, 2:
			if !w.down[s] {
				s.at(w.now)
			}
		case 3, 4:
			w.mint(s)
		default:
			w.verify()
		}
	}
	for _, s := range w.servers { // whoever is up has looked within ten seconds
		if !w.down[s] {
			s.at(w.now)
		}
	}
}

// disturb stops or starts a server, changes the configuration or has an operator
// rotate.
func (w *world) disturb(s *server) {
	switch w.r.IntN(8) {
	case 0:
		w.down[s] = true
	case 3: // its next change is lost, or half done, and it may die of it
		w.store.crash = []crash{crash(w.r.IntN(3))}
		if s.at(w.now); w.r.IntN(2) == 0 {
			w.boot(s, false)
		}
	case 1:
		w.boot(s, w.r.IntN(4) == 0)
	case 2:
		if k := w.store.state.Keys["k"]; plan(k, w.terms, s.book, w.now) == nil || w.r.IntN(3) == 0 {
			w.grow()
		}
	default:
		if !w.down[s] {
			_, _ = s.Rotate(context.Background(), "k", "", Will{By: "somebody"}, false) // there need be none
		}
	}
}

// mint has a server sign, at times one whose signature was under way when
// another version came to sign.
func (w *world) mint(s *server) {
	if !w.down[s] && w.now.Sub(s.now) > Outage { // it signs so long without the Store
		s.at(w.now)
	}
	if w.down[s] || s.ring.active == "" {
		return
	}
	kid := s.ring.active
	for _, v := range s.view.Load().Keys["k"].Versions {
		if v.KID == s.ring.before && v.Standing == Retired && w.now.Sub(v.Retired) < 2*time.Minute && w.r.IntN(2) == 0 {
			kid = v.KID
		}
	}
	end := w.now.Add(w.r.upTo(w.terms.Longest) + time.Second)
	if w.r.IntN(3) == 0 {
		end = w.now.Add(w.terms.Longest)
	}
	s.book.issued(kid, end)
	w.tokens = append(w.tokens, tok{kid, end})
	w.minted++
}

// verify shows a token that is still valid to a verifier.
func (w *world) verify() {
	v := w.verifiers[w.r.IntN(len(w.verifiers))]
	if v.kids == nil || w.now.Sub(v.fetched) >= v.keeps {
		s := w.servers[w.r.IntN(len(w.servers))]
		if w.down[s] {
			return
		}
		if w.now.Sub(s.now) > Settle-time.Minute { // a server that is up has looked since
			s.at(w.now)
		}
		v.fetched, v.kids = w.now, map[string]bool{}
		for _, p := range s.Published("k") {
			v.kids[p.KID] = true
		}
	}
	live := w.tokens[:0]
	for _, token := range w.tokens {
		if w.now.Before(token.end.Add(Skew)) {
			live = append(live, token)
		}
	}
	w.tokens = live
	for _, token := range w.tokens {
		if w.now.Before(token.end.Add(v.slow)) && !v.kids[token.kid] {
			w.t.Errorf("a verifier that fetched %v ago knows %v, and meets %q, which ends in %v; %+v",
				w.now.Sub(v.fetched), v.kids, token.kid, token.end.Sub(w.now), w.store.state.Keys["k"])
		}
	}
}
