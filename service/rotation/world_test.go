package rotation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// crash is where a Save ends that does not return, as far as who saves can tell.
type crash int

const (
	fine crash = iota
	before
	after
)

// memory is a Store that servers share.
type memory struct {
	mu       sync.Mutex
	state    State
	revision int
	fails    error // of Save
	crash    []crash
}

func (m *memory) Load(context.Context) (State, Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.clone(), m.name(), nil
}

func (m *memory) name() Revision {
	if m.revision == 0 {
		return ""
	}
	return Revision(fmt.Sprint(m.revision))
}

func (m *memory) Save(_ context.Context, state State, over Revision) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return "", m.fails
	}
	if over != m.name() {
		return "", ErrConflict
	}
	if err := state.valid(); err != nil {
		return "", err
	}
	how := fine
	if len(m.crash) > 0 {
		how, m.crash = m.crash[0], m.crash[1:]
	}
	if how == before {
		return "", errDisk
	}
	m.state, m.revision = state.clone(), m.revision+1
	if how == after {
		return "", errDisk
	}
	return m.name(), nil
}

// book is a ledger.
type book struct {
	id   string
	ends map[string]time.Time
}

func (b *book) ID() string { return b.id }

func (b *book) End(kid string) (time.Time, bool) {
	end, ok := b.ends[kid]
	return end, ok
}

func (b *book) issued(kid string, end time.Time) {
	if end.After(b.ends[kid]) {
		b.ends[kid] = end
	}
}

// ring stands for a signer with one key "k".
type ring struct {
	terms  Terms
	active string
	before string // what was active before
}

func (r *ring) Terms() map[string]Terms { return map[string]Terms{"k": r.terms} }

func (r *ring) Activate(_, kid string) {
	if kid != r.active {
		r.before = r.active
	}
	r.active = kid
	for _, c := range r.terms.Candidates {
		if c.KID == kid {
			return
		}
	}
	r.active = "" // a signer has no version that it has not read
}

func spki(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// candidates returns versions v1 to vN that can sign.
func candidates(t testing.TB, n int) []Candidate {
	t.Helper()
	var all []Candidate
	for i := range n {
		all = append(all, Candidate{Place: fmt.Sprintf("b v%d", i+1), KID: fmt.Sprintf("v%d", i+1), SPKI: spki(t), Able: true})
	}
	return all
}

// server is a Keeper with what it needs.
type server struct {
	*Keeper
	ring    *ring
	book    *book
	now     time.Time
	wrong   error // what the clock says
	refuse  error // what the record says
	changes []Change
	told    int
}

// start returns a server over a Store whose configuration answers.
func start(t testing.TB, store Store, terms Terms, now time.Time) *server {
	t.Helper()
	s := &server{ring: &ring{terms: terms}, book: &book{id: "server", ends: map[string]time.Time{}}, now: now}
	s.open(t, store)
	if err := s.Prepare(context.Background(), s.ring); err != nil {
		t.Fatal(err)
	}
	s.Adopt(context.Background(), s.ring)
	return s
}

func (s *server) open(t testing.TB, store Store) {
	t.Helper()
	keeper, err := Open(context.Background(), Config{
		Store: store, Known: s.book, Log: slog.New(slog.DiscardHandler),
		Now: func() (time.Time, error) { return s.now, s.wrong },
		Record: func(_ context.Context, c Change) error {
			if s.refuse == nil {
				s.changes = append(s.changes, c)
			}
			return s.refuse
		},
		Changed: func() { s.told++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Keeper = keeper
}

// at goes on to a time and applies the rules.
func (s *server) at(now time.Time) {
	s.now = now
	s.tick(context.Background())
}

// standings says how the versions stand, as in "v1 active, v2 next".
func (s *server) standings() string {
	var text string
	for _, v := range s.view.Load().Keys["k"].Versions {
		if text != "" {
			text += ", "
		}
		text += v.KID + " " + string(v.Standing)
	}
	return text
}

func (s *server) stands(t *testing.T, want string) {
	t.Helper()
	if got := s.standings(); got != want {
		t.Errorf("stands %q, want %q", got, want)
	}
}

var errDisk = errors.New("the disk is full")
