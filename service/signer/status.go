package signer

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/jotsmith/jotsmith/service/claims"
)

// Header returns the JOSE header that Sign would give a set. It is ErrNotReady
// while its kid is the thumbprint of a key that was not read yet.
func (s *Signer) Header(set claims.Set) ([]byte, error) {
	if set.Payload() == nil {
		return nil, ErrUnapproved
	}
	k, err := s.key(set.Key())
	if err != nil {
		return nil, err
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
	k, err := s.key(name)
	if err != nil {
		return Version{}, err
	}
	return k.version()
}

// Fault says why the key could not sign when it was last asked; nil where it
// could, which is where any of its members could.
func (s *Signer) Fault(name string) error {
	k, err := s.key(name)
	if err != nil {
		return err
	}
	return k.why()
}

// Affords says whether the time left in ctx is enough to have the key sign:
// ErrNoTime, or the context's own error, where it is not.
func (s *Signer) Affords(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k, err := s.key(name)
	if err != nil {
		return err
	}
	deadline, limited := ctx.Deadline()
	if !limited || k.info.Load() == nil {
		return nil
	}
	left := time.Until(deadline) - answerTime
	for _, m := range k.members {
		if info := m.info.Load(); info != nil && (info.InProcess || left >= m.store.MinTime) {
			return nil
		}
	}
	return ErrNoTime
}

// Public returns the public half of a configured key, once it has been read.
func (s *Signer) Public(name string) (Public, bool) {
	k, err := s.key(name)
	if err != nil {
		return Public{}, false
	}
	info := k.info.Load()
	if info == nil {
		return Public{}, false
	}
	return Public{info.kid, info.public}, true
}

// Keys returns the configured keys, by name; of one with versions the first.
func (s *Signer) Keys() []Key {
	keys := make([]Key, 0, len(s.keys))
	for _, name := range s.names() {
		keys = append(keys, s.keys[name].versions[0].Key)
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
	if k, err := s.key(name); err == nil {
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

// Latched says whether the key is out of use until a new Signer, because one of
// its stores lied.
func (s *Signer) Latched(name string) bool {
	k, err := s.key(name)
	if err != nil {
		return false
	}
	if k.latched.Load() != nil {
		return true
	}
	for _, m := range k.members {
		if m.latched.Load() == nil {
			return false
		}
	}
	return true
}

// StoreStatus is the state of a store.
type StoreStatus struct {
	Store
	Name              string
	InFlight, Waiting int
	Healthy           bool  // it was there when it was last asked; a fault of one key is none of the store
	Fault             error // the newest failure, whosesoever; nil where there was none
	FaultTime         time.Time
}

// Stores returns the state of each store, by name.
func (s *Signer) Stores() []StoreStatus {
	stores := make([]StoreStatus, 0, len(s.stores))
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		st := s.stores[name]
		status := StoreStatus{Store: st.Store, Name: name, Healthy: !st.away.Load()}
		status.InFlight, status.Waiting = st.busy()
		if last := st.last.Load(); last != nil {
			status.Fault, status.FaultTime = last.err, last.time
		}
		stores = append(stores, status)
	}
	return stores
}

// MemberStatus is the state of one member of a key.
type MemberStatus struct {
	Member
	CanonicalID string        // for operators, never for callers; empty while it was not read
	First       bool          // whether it is asked first
	Latency     time.Duration // of its recent answers; 0 where it is not known, or the only member
	Fault       error         // why it could not sign when it was last asked; nil where it could
}

// Members returns the state of a key's members, in the order of the
// configuration.
func (s *Signer) Members(name string) []MemberStatus {
	k, err := s.key(name)
	if err != nil {
		return nil
	}
	first := k.preferred()
	all := make([]MemberStatus, len(k.members))
	for i, m := range k.members {
		all[i] = MemberStatus{Member: m.Member, First: i == first, Latency: time.Duration(m.latency.Load()), Fault: m.why()}
		if info := m.info.Load(); info != nil {
			all[i].CanonicalID = info.CanonicalID
		}
	}
	return all
}
