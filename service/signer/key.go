package signer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/token"
)

const (
	// sample is one in how many signatures of this process is verified.
	sample = 1024
	// answerTime is kept back from the caller's deadline, so that the reason
	// of a failure still reaches him.
	answerTime = 20 * time.Millisecond
)

// key is a configured key and what is known of it.
type key struct {
	Key
	store   *store
	timeout time.Duration
	random  io.Reader
	log     *slog.Logger
	report  func(healthy bool)
	taken   *taken

	info    atomic.Pointer[pinned]         // nil until read from the store
	latched atomic.Pointer[backends.Error] // why the key is never used again
	fault   atomic.Pointer[error]          // why the key could not sign last; nil when it could
	sick    chan struct{}                  // wakes watch
	signed  atomic.Uint64                  // for sampling
	nonces  nonces
}

func newKey(cfg Key, st *store, others *taken, parent Config) *key {
	k := &key{
		Key: cfg, store: st, timeout: parent.Timeout, random: parent.Random,
		log:   parent.Log.With("key", cfg.Name),
		sick:  make(chan struct{}, 1),
		taken: others,
		report: func(healthy bool) {
			if parent.OnHealth != nil {
				parent.OnHealth(cfg.Name, healthy)
			}
		},
	}
	never := ErrNotReady
	k.fault.Store(&never)
	return k
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

// token signs a set.
func (k *key) token(ctx context.Context, set claims.Set) (Signed, error) {
	if err := k.usable(); err != nil {
		return Signed{}, err
	}
	info := k.info.Load()
	input := token.NewSigningInput(header(info.head, set), set.Payload())
	signature, err := k.sign(ctx, set.Grant().Caller().String(), sha256.Sum256(input.Bytes()))
	if err != nil {
		return Signed{}, err
	}
	return Signed{input.Join(signature), info.kid}, nil
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
	if fault := k.fault.Load(); fault != nil && revoked(*fault) {
		return Version{}, *fault
	}
	return Version{info.kid, info.spki}, nil
}

// revoked says whether a fault means that somebody has taken the key away.
func revoked(err error) bool {
	for _, kind := range []error{
		backends.ErrKeyDisabled, backends.ErrKeyNotFound, backends.ErrAccessDenied,
		backends.ErrKeyMismatch, backends.ErrKeyUnsuitable, backends.ErrSignatureInvalid,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// sign has the store sign a digest and releases no signature from outside this
// process that it has not verified. The caller's name is for a fair queue; this
// server's own name is none.
func (k *key) sign(ctx context.Context, caller string, digest backends.Digest) (backends.Signature, error) {
	if err := k.usable(); err != nil {
		return backends.Signature{}, err
	}
	signature, err := k.ask(ctx, caller, digest)
	if err != nil {
		k.failed(err)
		return backends.Signature{}, err
	}
	if err := k.verify(signature, digest); err != nil {
		return backends.Signature{}, err
	}
	if k.fault.Load() != nil {
		k.recovered()
	}
	return signature, nil
}

// usable says why the key cannot be asked at all.
func (k *key) usable() error {
	if latched := k.latched.Load(); latched != nil {
		return latched
	}
	if k.info.Load() == nil {
		if fault := k.fault.Load(); fault != nil && !errors.Is(*fault, context.DeadlineExceeded) {
			return *fault
		}
		return ErrNotReady
	}
	return nil
}

// ask takes a turn in the store. Where the time ran out and the caller is not
// to blame for it, the error says which of the queue and the store was slow.
func (k *key) ask(ctx context.Context, caller string, digest backends.Digest) (backends.Signature, error) {
	if k.info.Load().InProcess {
		leave, err := k.store.enter(ctx, caller)
		if err != nil {
			return backends.Signature{}, err
		}
		defer leave()
		return k.store.Backend.Sign(ctx, k.ID, digest)
	}

	inner, cancel := k.deadline(ctx)
	defer cancel()
	leave, err := k.store.enter(inner, caller)
	if err != nil {
		return backends.Signature{}, blame(ctx, err, ErrOverloaded)
	}
	defer leave()
	if deadline, ok := inner.Deadline(); ok && time.Until(deadline) < k.store.MinTime {
		return backends.Signature{}, ErrNoTime
	}
	signature, err := k.store.Backend.Sign(inner, k.ID, digest)
	if err != nil {
		return backends.Signature{}, blame(ctx, err, &backends.Error{
			Op: "sign", KeyID: k.ID, Kind: backends.ErrUnavailable, Err: errors.New("no answer in time"),
		})
	}
	return signature, nil
}

// blame returns slow for a deadline that was this server's and not the
// caller's, and any other error as it is.
func blame(caller context.Context, err, slow error) error {
	if !errors.Is(err, context.DeadlineExceeded) || caller.Err() != nil {
		return err
	}
	if deadline, ok := caller.Deadline(); ok && time.Until(deadline) <= 2*answerTime {
		return err
	}
	return slow
}

// deadline bounds the time in the store by the caller's deadline less what the
// answer needs, and by the configured timeout.
func (k *key) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := time.Now().Add(k.timeout)
	if asked, ok := ctx.Deadline(); ok && asked.Add(-answerTime).Before(limit) {
		limit = asked.Add(-answerTime)
	}
	return context.WithDeadline(ctx, limit)
}

// verify checks a signature against the pinned public key where it has to, and
// latches the key on the first that is wrong or repeats a nonce.
func (k *key) verify(signature backends.Signature, digest backends.Digest) error {
	info := k.info.Load()
	if info.InProcess && !k.VerifyAlways && k.signed.Add(1)%sample != 0 {
		return nil
	}
	if !signature.Verify(info.PublicKey, digest) {
		return k.latch(&backends.Error{
			Op: "sign", KeyID: k.ID, Kind: backends.ErrSignatureInvalid,
			Err: errors.New("does not verify with the pinned public key"),
		})
	}
	if k.nonces.repeated(signature, digest) {
		return k.latch(&backends.Error{
			Op: "sign", KeyID: k.ID, Kind: backends.ErrSignatureInvalid,
			Err: errors.New("the store repeated a nonce; whoever saw both signatures can work out the private key"),
		})
	}
	return nil
}

// probe reads the key from its store, compares it with its pin and has it sign
// a canary, a text that no token can have.
func (k *key) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	info, err := k.store.Backend.Describe(ctx, k.ID)
	if err != nil {
		k.failed(err)
		return err
	}
	if err := k.pin(info); err != nil {
		return err
	}
	canary := make([]byte, 16)
	if _, err := io.ReadFull(k.random, canary); err != nil {
		return fmt.Errorf("canary: %w", err)
	}
	_, err = k.sign(ctx, "", sha256.Sum256(append([]byte("jotsmith canary "), hex.EncodeToString(canary)...)))
	return err
}

// pin accepts the public key that the store says is this key, or latches.
func (k *key) pin(info backends.KeyInfo) error {
	found, err := newPinned(info, k.KID)
	if err != nil {
		return err
	}
	mismatch := func(err error) error {
		return k.latch(&backends.Error{Op: "describe", KeyID: k.ID, Kind: backends.ErrKeyMismatch, Err: err})
	}
	if k.SPKISHA256 != nil && subtle.ConstantTimeCompare(found.spki[:], k.SPKISHA256) != 1 {
		return mismatch(fmt.Errorf("its spki_sha256 is %x", found.spki))
	}
	if known := k.info.Load(); known != nil && !known.PublicKey.Equal(info.PublicKey) {
		return mismatch(fmt.Errorf("the store has another key under this id since the start; its spki_sha256 is %x", found.spki))
	}
	if err := k.taken.take(k.Name, found); err != nil {
		return mismatch(err)
	}
	k.info.Store(found)
	return nil
}

// latch puts the key out of use until the configuration is loaded again.
func (k *key) latch(why *backends.Error) error {
	if k.latched.CompareAndSwap(nil, why) {
		k.log.Error("key latched", "error", why)
		var fault error = why
		k.fault.Store(&fault)
		k.report(false)
	}
	return why
}
