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
	MaxInFlight int           // signatures under way at once
	MaxQueue    int           // calls that may wait beyond those, served round robin by caller
	MinTime     time.Duration // least time left when the turn comes; not asked of keys in process
}

// Key is a signing key as configured.
type Key struct {
	Name         string
	Store        string // the name of its Store
	ID           string // the store's own name for it
	KID          string // the header's kid; empty is the public key's thumbprint
	SPKISHA256   []byte // the digest of the only public key accepted; nil pins the one found first
	VerifyAlways bool   // also verify what this process signs itself
	Checkpoints  bool   // signs checkpoints of the audit log, and no token
}

// Public is the public half of a key that has been read from its store.
type Public struct {
	KID         string
	PublicKey   *ecdsa.PublicKey
	CanonicalID string // for operators, never for callers
}

// Signed is a token and the kid of the key that signed it.
type Signed struct {
	Token token.Compact
	KID   string
}

// Recorder records each signature: that it is about to be made, and what came
// of it. Where it cannot, there is no token.
type Recorder interface {
	// Begin returns when it is recorded that the set is about to be signed.
	// end records what came of it.
	Begin(ctx context.Context, set claims.Set) (end func(context.Context, Signed, error) error, err error)
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
}

// Signer signs for all configured keys. It is safe for concurrent use.
type Signer struct {
	keys   map[string]*key
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
	s := &Signer{keys: map[string]*key{}, stores: map[string]*store{}, log: cfg.Log, record: cfg.Record, idle: make(chan struct{})}
	s.users.Store(1)
	for name, st := range cfg.Stores {
		s.stores[name] = newStore(st)
	}
	others := &taken{kids: map[string]string{}, keys: map[[sha256.Size]byte]string{}}
	for _, k := range cfg.Keys {
		st, ok := s.stores[k.Store]
		if !ok {
			return nil, fmt.Errorf("key %s: no store %q", k.Name, k.Store)
		}
		s.keys[k.Name] = newKey(k, st, others, cfg)
	}
	return s, nil
}

// Load reads every key from its store, compares it with its pin and has it
// sign a canary. A key whose store is merely away, throttling, locked or
// switched off stays not ready, and Run brings it back; every other fault is
// the configuration's and is returned. So is a public key that two keys have.
func (s *Signer) Load(ctx context.Context) error {
	errs := make([]error, len(s.keys))
	names := s.names()
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			k := s.keys[name]
			err := k.probe(ctx)
			if err != nil && !heals(err) {
				errs[i] = fmt.Errorf("key %s: %w", name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Run watches the keys that cannot sign and tries them again, each with a
// backoff of its own, until ctx ends. It returns nil.
func (s *Signer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, k := range s.keys {
		wg.Go(func() { k.watch(ctx) })
	}
	wg.Wait()
	return nil
}

// Sign signs the set with the key that its profile names. It returns soon
// after ctx ends. The error is one of this package's, the context's, or a
// *backends.Error.
func (s *Signer) Sign(ctx context.Context, set claims.Set) (Signed, error) {
	if set.Payload() == nil {
		return Signed{}, ErrUnapproved
	}
	k, ok := s.keys[set.Key()]
	if !ok {
		return Signed{}, fmt.Errorf("%w: no key %q", ErrNotReady, set.Key())
	}
	if k.Checkpoints {
		return Signed{}, ErrUnapproved
	}
	if s.record == nil {
		return k.token(ctx, set)
	}
	end, err := s.record.Begin(ctx, set)
	if err != nil {
		return Signed{}, err
	}
	signed, err := k.token(ctx, set)
	// The result is recorded for a caller who has gone, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := errors.Join(err, end(ctx, signed, err)); err != nil {
		return Signed{}, err
	}
	return signed, nil
}

// SignCheckpoint signs the digest of a checkpoint of the audit log with a key
// that signs nothing else, and returns its kid.
func (s *Signer) SignCheckpoint(ctx context.Context, name string, digest backends.Digest) (backends.Signature, string, error) {
	k, ok := s.keys[name]
	if !ok || !k.Checkpoints {
		return backends.Signature{}, "", ErrUnapproved
	}
	signature, err := k.sign(ctx, "audit", digest)
	return signature, k.kid(), err
}

// recordTime is how long the record of a result may take.
const recordTime = 5 * time.Second

// Header returns the JOSE header that Sign would give a set. It is ErrNotReady
// while its kid is the thumbprint of a key that was not read yet.
func (s *Signer) Header(set claims.Set) ([]byte, error) {
	k, ok := s.keys[set.Key()]
	if !ok || set.Payload() == nil {
		return nil, ErrUnapproved
	}
	kid := k.kid()
	if kid == "" && !set.OmitKID() {
		return nil, ErrNotReady
	}
	return header(head(kid), set), nil
}

// Version identifies a key: tokens of two versions are never mixed up. It is
// comparable.
type Version struct {
	KID  string
	SPKI [sha256.Size]byte // the digest of the public key's SubjectPublicKeyInfo
}

// Version returns the version of a configured key, or why no token of it may
// be handed out, not even one that was signed before. A store that is merely
// away is no such reason.
func (s *Signer) Version(name string) (Version, error) {
	k, ok := s.keys[name]
	if !ok {
		return Version{}, fmt.Errorf("%w: no key %q", ErrNotReady, name)
	}
	return k.version()
}

// Fault says why the key could not sign when it was last asked; nil where it
// could.
func (s *Signer) Fault(name string) error {
	k, ok := s.keys[name]
	if !ok {
		return fmt.Errorf("%w: no key %q", ErrNotReady, name)
	}
	if fault := k.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// Affords says whether the time left in ctx is enough to have the key sign:
// ErrNoTime, or the context's own error, where it is not.
func (s *Signer) Affords(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k, ok := s.keys[name]
	if !ok {
		return fmt.Errorf("%w: no key %q", ErrNotReady, name)
	}
	deadline, limited := ctx.Deadline()
	if info := k.info.Load(); !limited || info == nil || info.InProcess {
		return nil
	}
	if time.Until(deadline)-answerTime < k.store.MinTime {
		return ErrNoTime
	}
	return nil
}

// Public returns the public half of a configured key, once it has been read.
func (s *Signer) Public(name string) (Public, bool) {
	k, ok := s.keys[name]
	if !ok {
		return Public{}, false
	}
	info := k.info.Load()
	if info == nil {
		return Public{}, false
	}
	return Public{info.kid, info.PublicKey, info.CanonicalID}, true
}

// Keys returns the configured keys, by name.
func (s *Signer) Keys() []Key {
	keys := make([]Key, 0, len(s.keys))
	for _, name := range s.names() {
		keys = append(keys, s.keys[name].Key)
	}
	return keys
}

// Has says whether a key of this name is configured.
func (s *Signer) Has(name string) bool {
	_, ok := s.keys[name]
	return ok
}

// KID returns the kid of a configured key; empty where there is none, and while
// it is the thumbprint of a key that was not read yet.
func (s *Signer) KID(name string) string {
	if k, ok := s.keys[name]; ok {
		return k.kid()
	}
	return ""
}

// Point returns the public half of a configured key as an uncompressed point,
// 65 bytes (SEC 1 section 2.3.3).
func (s *Signer) Point(name string) ([]byte, error) {
	public, ok := s.Public(name)
	if !ok {
		return nil, ErrNotReady
	}
	return public.PublicKey.Bytes()
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
		errs = append(errs, st.Backend.Close())
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

// heals says whether a fault may pass without a change of the configuration.
func heals(err error) bool {
	for _, kind := range []error{
		backends.ErrUnavailable, backends.ErrThrottled, backends.ErrKeyDisabled, backends.ErrPINIncorrect,
		backends.ErrPINLocked, context.DeadlineExceeded, ErrOverloaded, ErrNoTime,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
