// Package signer turns an approved claims.Set into a signed token. It holds
// what every key store needs and no store should write again: the pinned
// public keys, verification before release, the latch on a key that lies, the
// bound on what is in flight, the care for the caller's deadline, and the
// watch that brings a key back when its store heals.
package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/token"
)

// Why nothing was signed, beside the errors of package backends and of the
// context.
var (
	ErrOverloaded = errors.New("too many calls wait for the key store")
	ErrNotReady   = errors.New("key has not been read from its store yet")
	ErrNoTime     = errors.New("too little time left to sign")
	ErrUnapproved = errors.New("claims set was not approved")
)

// Store is a key store with its bounds.
type Store struct {
	Backend     backends.KeyBackend
	Scheme      string           // of its URI, for operators
	Metrics     *metrics.Backend // nil counts nothing
	MaxInFlight int              // signatures under way at once
	MaxQueue    int              // calls that may wait beyond those, served round robin by caller
	MinTime     time.Duration    // least time left when the turn comes; not asked of keys in process
}

// Key is a signing key as configured. Its members are the same key pair in one
// store or several; the order says who is asked first where nothing else does.
type Key struct {
	Name         string
	Members      []Member // 1 to MaxMembers
	KID          string   // the header's kid; empty is the public key's thumbprint
	SPKISHA256   []byte   // the digest of the only public key accepted; nil pins the one found first
	VerifyAlways bool     // also verify what this process signs itself
	Checkpoints  bool     // signs checkpoints of the audit log, and no token

	// Version is the place of this one among the versions of a key, from 1; all
	// of them have its Name, and Activate says which signs. 0 is a key that has
	// no versions.
	Version int
	// Resting says that this version signs no more, so that Load takes no
	// offence where its store has it no longer.
	Resting bool
}

// Member is a key in one store.
type Member struct {
	Store string // the name of its Store
	ID    string // the store's own name for the key
}

// Public is the public half of a key that has been read from its store.
type Public struct {
	KID       string
	PublicKey *ecdsa.PublicKey
}

// Signed is a token and the kid of the key that signed it.
type Signed struct {
	Token token.Compact
	KID   string
}

// Recorder records each signature: that it is about to be made, and what came
// of it. Where it cannot, there is no token.
type Recorder interface {
	// Begin returns when it is recorded that the set is about to be signed. Where
	// the signature is made inside this process, so that nobody can have it before
	// its record is confirmed, one record says both, and Begin has nothing to do.
	Begin(ctx context.Context, set claims.Set, inside bool) (Record, error)
}

// Record is the record of one signature.
type Record interface {
	// End brings what came of it, once.
	End(ctx context.Context, signed Signed, err error) error
	// Confirmed returns when the record is, which End brought a token for. Until then
	// nobody may have the token.
	Confirmed(ctx context.Context) error
}

// Config is what New needs.
type Config struct {
	Record  Recorder // nil records nothing
	Stores  map[string]Store
	Keys    []Key
	Timeout time.Duration // the longest that one signature may take
	Random  io.Reader     // for canaries and jitter; never for signatures
	Log     *slog.Logger
	// OnHealth, if set, is called whenever a key begins or ceases to be able
	// to sign, and once for each key by Load. Calls do not overlap for a key.
	OnHealth func(key string, healthy bool)
	// OnVersion, if set, is called whenever a version of a key begins or ceases
	// to be able to sign, active or not.
	OnVersion func()
}

// Signer signs for all configured keys. It is safe for concurrent use.
type Signer struct {
	keys   map[string]*ring
	stores map[string]*store
	log    *slog.Logger
	record Recorder

	users  atomic.Int64 // those who hold it open, and one for who will close it
	closed sync.Once
	idle   chan struct{} // closed when the last user has gone
}

// New returns a Signer that owns the stores' backends. Load must run before
// the first Sign, and Run beside it.
func New(cfg Config) (*Signer, error) {
	s := &Signer{keys: map[string]*ring{}, stores: map[string]*store{}, log: cfg.Log, record: cfg.Record, idle: make(chan struct{})}
	s.users.Store(1)
	for name, st := range cfg.Stores {
		s.stores[name] = newStore(st)
	}
	others := &taken{kids: map[string]string{}, keys: map[[sha256.Size]byte]string{}}
	for _, k := range cfg.Keys {
		key, err := newKey(k, s.stores, others, cfg)
		if err != nil {
			return nil, err
		}
		s.ring(k.Name, cfg).add(key)
	}
	return s, nil
}

// ring returns the ring of a name, which it makes where there is none yet.
func (s *Signer) ring(name string, cfg Config) *ring {
	r, ok := s.keys[name]
	if ok {
		return r
	}
	r = &ring{name: name, onHealth: cfg.OnHealth, onChange: cfg.OnVersion}
	if r.onHealth == nil {
		r.onHealth = func(string, bool) {}
	}
	if r.onChange == nil {
		r.onChange = func() {}
	}
	s.keys[name] = r
	return r
}

// key returns the version of a key that signs; an error is ErrNotReady.
func (s *Signer) key(name string) (*key, error) {
	if r, ok := s.keys[name]; ok {
		return r.signing()
	}
	return nil, fmt.Errorf("%w: no key %q", ErrNotReady, name)
}

// inLine is how many signatures who wants several has in line for each turn: enough to
// have the next one follow while he prepares more.
const inLine = 8

// Inside returns how many signatures may be under way at once by a key that is in this
// process, and how many who wants several may have in line for each of those, which is
// no great part of the places that there are. Both are 0 for another key.
func (s *Signer) Inside(name string) (turns, each int) {
	k, err := s.key(name)
	if err != nil {
		return 0, 0
	}
	m := k.alone()
	if m == nil {
		return 0, 0
	}
	turns = max(m.store.MaxInFlight, 1)
	return turns, max(min(inLine, m.store.MaxQueue/(32*turns)), 1)
}

// AllInside says whether all keys are known to be in this process.
func (s *Signer) AllInside() bool {
	for _, m := range s.members() {
		if info := m.info.Load(); info == nil || !info.InProcess {
			return false
		}
	}
	return true
}

// Load reads every key from each of its stores, compares it with its pin and its
// members with each other, and has each sign a canary. A member whose store is
// merely away, throttling, locked or switched off stays not ready, and Run brings
// it back; every other fault is the configuration's and is returned. So is a
// public key that two keys have.
func (s *Signer) Load(ctx context.Context) error {
	members := s.members()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			if err := m.probe(ctx); err != nil && !heals(err) && !m.key.Resting {
				errs[i] = fmt.Errorf("key %s: %w", m.key.Label(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Run watches the members of keys that cannot sign and tries them again, each
// with a backoff of its own, and tests those that others sign in the place of,
// until ctx ends. It returns nil.
func (s *Signer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, m := range s.members() {
		wg.Go(func() { m.watch(ctx) })
	}
	wg.Wait()
	return nil
}

// members returns the members of all keys, by the keys' names.
func (s *Signer) members() []*member {
	var all []*member
	for _, name := range s.names() {
		for _, version := range s.keys[name].versions {
			all = append(all, version.members...)
		}
	}
	return all
}

// SignCheckpoint signs the digest of a checkpoint of the audit log with a key
// that signs nothing else, and returns its kid.
func (s *Signer) SignCheckpoint(ctx context.Context, name string, digest backends.Digest) (backends.Signature, string, error) {
	k, err := s.key(name)
	if err != nil || !k.Checkpoints {
		return backends.Signature{}, "", ErrUnapproved
	}
	signature, err := k.sign(ctx, "audit", digest)
	return signature, k.kid(), err
}

// Acquire holds the signer open until Release, and says whether it still is. A
// configuration that is replaced is closed when nobody holds its signer.
func (s *Signer) Acquire() bool {
	for {
		users := s.users.Load()
		if users == 0 {
			return false
		}
		if s.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
}

// Release ends one Acquire.
func (s *Signer) Release() {
	if s.users.Add(-1) == 0 {
		close(s.idle)
	}
}

// Close waits until nobody holds the signer, refuses new calls, waits for those
// under way and closes the backends. It may be called again.
func (s *Signer) Close() error {
	s.closed.Do(s.Release)
	<-s.idle
	var errs []error
	for _, st := range s.stores {
		errs = append(errs, st.close())
	}
	return errors.Join(errs...)
}

func (s *Signer) names() []string {
	names := make([]string, 0, len(s.keys))
	for name := range s.keys {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
