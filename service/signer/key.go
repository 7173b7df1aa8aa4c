package signer

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
)

const (
	// sample is one in how many signatures of this process is verified.
	sample = 1024
	// answerTime is kept back from the caller's deadline, so that the reason
	// of a failure still reaches him.
	answerTime = 20 * time.Millisecond
)

// key is a configured key and what is known of it, wherever it is.
type key struct {
	Key
	members []*member // in the order of the configuration; at least one
	timeout time.Duration
	random  io.Reader
	log     *slog.Logger
	report  func(healthy bool) // set by the ring
	taken   *taken
	born    time.Time

	info    atomic.Pointer[pinned]         // nil until read from a store
	latched atomic.Pointer[backends.Error] // why the key is never used again
	first   atomic.Int32                   // the member that was asked first last
	signed  atomic.Uint64                  // for sampling
	nonces  nonces

	mu   sync.Mutex
	told state // what report was told last
}

func newKey(cfg Key, stores map[string]*store, others *taken, parent Config) (*key, error) {
	k := &key{
		Key: cfg, timeout: parent.Timeout, random: parent.Random,
		log:   parent.Log.With("key", cfg.Name),
		taken: others,
		born:  time.Now(),
	}
	if cfg.Version > 0 {
		k.log = k.log.With("version", cfg.Version)
	}
	for _, m := range cfg.Members {
		st, ok := stores[m.Store]
		if !ok {
			return nil, fmt.Errorf("key %s: no store %q", cfg.Name, m.Store)
		}
		k.members = append(k.members, newMember(m, k, st))
	}
	if len(k.members) == 0 || len(k.members) > MaxMembers {
		return nil, fmt.Errorf("key %s: has %d members, not 1 to %d", cfg.Name, len(k.members), MaxMembers)
	}
	return k, nil
}

// Places names where the key is. It tells the versions of a key apart.
func (k Key) Places() string {
	places := make([]string, len(k.Members))
	for i, m := range k.Members {
		places[i] = m.Store + " " + m.ID
	}
	return strings.Join(places, ", ")
}

// Label names the key, and which version of it this is, for messages.
func (k Key) Label() string {
	if k.Version == 0 {
		return k.Name
	}
	return fmt.Sprintf("%s, version %d", k.Name, k.Version)
}

// kid returns the key's kid; empty where it is the thumbprint of a key that was
// not read yet.
func (k *key) kid() string {
	if info := k.info.Load(); info != nil {
		return info.kid
	}
	return k.KID
}

// header returns the JOSE header of a set: alg, then where they are there the
// kid that start ends with, typ and the profile's own parameters.
func header(start []byte, set claims.Set) []byte {
	header := make([]byte, 0, 128)
	if set.OmitKID() {
		header = append(header, `{"alg":"ES256"`...)
	} else {
		header = append(header, start...)
	}
	if typ := set.Typ(); typ != "" {
		header = append(header, `,"typ":"`...)
		header = append(header, typ...) // the configuration allows no character that JSON escapes
		header = append(header, '"')
	}
	return append(append(header, set.Header()...), '}')
}

// token signs a set for a call of a caller that has its place, if there is one.
func (k *key) token(ctx context.Context, set claims.Set, caller string, at *place) (Signed, error) {
	if err := k.usable(); err != nil {
		return Signed{}, err
	}
	one := k.unsigned(set)
	return one.signed(k.signSomewhere(ctx, turn{caller: caller, digest: one.digest, place: at}))
}

// sign has a member sign a digest. The caller's name is for a fair queue; this
// server's own name is none.
func (k *key) sign(ctx context.Context, caller string, digest backends.Digest) (backends.Signature, error) {
	if err := k.usable(); err != nil {
		return backends.Signature{}, err
	}
	return k.signSomewhere(ctx, turn{caller: caller, digest: digest})
}

// usable says why no member can be asked at all.
func (k *key) usable() error {
	if latched := k.latched.Load(); latched != nil {
		return latched
	}
	for _, m := range k.members {
		if m.askable() {
			return nil
		}
	}
	if why := k.why(); why != nil && !errors.Is(why, context.DeadlineExceeded) {
		return why
	}
	return ErrNotReady
}

// version says which key this is, or why no token of it may be handed out any
// more. A store that is away for a while is no such reason.
func (k *key) version() (Version, error) {
	if latched := k.latched.Load(); latched != nil {
		return Version{}, latched
	}
	info := k.info.Load()
	if info == nil {
		return Version{}, k.usable()
	}
	if k.state() != healthy {
		for _, m := range k.members {
			if why := m.why(); revoked(why) {
				return Version{}, why
			}
		}
	}
	return Version{info.kid, info.spki}, nil
}

// limit is when a signature has to be there: at the caller's deadline less what
// the answer needs, and within the configured timeout.
func (k *key) limit(ctx context.Context) time.Time {
	limit := time.Now().Add(k.timeout)
	if asked, ok := ctx.Deadline(); ok && asked.Add(-answerTime).Before(limit) {
		limit = asked.Add(-answerTime)
	}
	return limit
}

// verify checks a member's signature against the pinned public key where it has
// to, and latches the key on the first that is wrong or repeats a nonce. It does
// so in all its places: what makes a store sign wrongly, or with a nonce that it
// had, can be what gives the private key away, and that is the same in each.
func (k *key) verify(m *member, signature backends.Signature, digest backends.Digest) error {
	if m.info.Load().InProcess && !k.VerifyAlways && k.signed.Add(1)%sample != 0 {
		return nil
	}
	invalid := func(why string) error {
		return m.lied(&backends.Error{Op: "sign", KeyID: m.ID, Kind: backends.ErrSignatureInvalid, Err: errors.New(why)})
	}
	if !signature.Verify(k.info.Load().public, digest) {
		return invalid("does not verify with the pinned public key")
	}
	if k.nonces.repeated(signature, digest) {
		return invalid("the store repeated a nonce; whoever saw both signatures can work out the private key")
	}
	return nil
}

// pin accepts the public key that a member's store says is this key. An error
// that is a *backends.Error says that it is another.
func (k *key) pin(info backends.KeyInfo, m *member) error {
	found, err := newPinned(info.PublicKey, k.KID, m)
	if err != nil {
		return err
	}
	mismatch := func(format string, args ...any) error {
		return &backends.Error{Op: "describe", KeyID: m.ID, Kind: backends.ErrKeyMismatch, Err: fmt.Errorf(format, args...)}
	}
	if k.SPKISHA256 != nil && subtle.ConstantTimeCompare(found.spki[:], k.SPKISHA256) != 1 {
		return mismatch("its spki_sha256 is %x", found.spki)
	}
	if k.info.Load() == nil {
		if err := k.taken.take(k.Label(), found); err != nil {
			return mismatch("%w", err)
		}
		k.info.CompareAndSwap(nil, found)
	}
	switch known := k.info.Load(); {
	case known.public.Equal(found.public):
		return nil
	case known.from == m:
		return mismatch("the store has another key under this id since the start; its spki_sha256 is %x", found.spki)
	default:
		return mismatch("the backends %q and %q hold different keys, spki_sha256 %x and %x; all members of a key have one public key",
			m.Store, known.from.Store, found.spki, known.spki)
	}
}

// inside says whether all that could sign with the key is in this process: a
// signature is then nobody's until it is handed out.
func (k *key) inside() bool {
	for _, m := range k.members {
		if info := m.info.Load(); info == nil || !info.InProcess {
			return false
		}
	}
	return true
}
