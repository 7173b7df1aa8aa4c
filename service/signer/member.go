package signer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// member is a key in one of the stores that have it.
type member struct {
	Member
	key     *key
	store   *store
	log     *slog.Logger
	several bool // the key has others

	info    atomic.Pointer[backends.KeyInfo] // nil until read from the store
	latched atomic.Pointer[backends.Error]   // why this member is never used again
	fault   atomic.Pointer[error]            // why it could not sign last; nil when it could
	sick    chan struct{}                    // wakes watch
	hurry   chan struct{}                    // has watch try at once

	// Of members among several alone; times are those of the key's age.
	latency   atomic.Int64 // of the store's recent answers, in nanoseconds; 0 is not known
	answered  atomic.Int64 // when the store last did
	silence   atomic.Int32 // of late: how often it did not answer, and how often it did
	rests     atomic.Int64 // until when it is spared, because it throttled
	throttled atomic.Int32 // how often it rested since it last answered
}

// errNoAnswer is why a call ended that the store did not answer in time.
var errNoAnswer = errors.New("no answer in time")

func newMember(cfg Member, k *key, st *store) *member {
	m := &member{
		Member: cfg, key: k, store: st, several: len(k.Members) > 1,
		log:  k.log.With("backend", cfg.Store),
		sick: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
	}
	never := ErrNotReady
	m.fault.Store(&never)
	return m
}

// askable says whether the store can be asked for a signature at all.
func (m *member) askable() bool { return m.info.Load() != nil && m.latched.Load() == nil }

// why says why the member could not sign when it was last asked; nil where it
// could.
func (m *member) why() error {
	if latched := m.latched.Load(); latched != nil {
		return latched
	}
	if fault := m.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// turn is a digest to sign.
type turn struct {
	caller   string
	digest   backends.Digest
	limit    time.Time     // when the call has to end; zero is the key's own limit
	patience time.Duration // how much of the time until then is for this member; 0 is all of it
	place    *place        // that the call has already; nil where it has none
}

// sign has the store sign a digest and releases no signature from outside this
// process that it has not verified.
func (m *member) sign(ctx context.Context, t turn) (backends.Signature, error) {
	signature, err := m.ask(ctx, t)
	return m.release(signature, err, t.digest)
}

// release takes note of what came of a digest's signature, and returns it where it may
// leave.
func (m *member) release(signature backends.Signature, err error, digest backends.Digest) (backends.Signature, error) {
	if err != nil {
		m.store.failed(err)
		if !m.several || !errors.Is(err, errNoAnswer) { // which late has judged
			m.failed(err)
		}
		return backends.Signature{}, err
	}
	if err := m.key.verify(m, signature, digest); err != nil {
		m.store.failed(err)
		return backends.Signature{}, err
	}
	if latched := m.key.latched.Load(); latched != nil { // by another call, while this one waited
		return backends.Signature{}, latched
	}
	m.store.signed()
	if m.fault.Load() != nil {
		m.recovered()
	}
	return signature, nil
}

// ask takes a turn in the store. Where the time ran out and the caller is not
// to blame for it, the error says which of the queue and the store was slow.
func (m *member) ask(ctx context.Context, t turn) (backends.Signature, error) {
	at := t.place
	if !at.in(m.store) {
		var err error
		if at, err = m.store.admit(t.caller); err != nil {
			return backends.Signature{}, err
		}
	}
	if m.info.Load().InProcess {
		digest := t.digest // t whole would be kept
		return at.run(ctx, func() (backends.Signature, error) { return m.answer(ctx, digest) })
	}

	if t.limit.IsZero() {
		t.limit = m.key.limit(ctx)
	}
	inner, cancel := t.within(ctx)
	defer cancel()
	if err := at.enter(inner); err != nil {
		return backends.Signature{}, blame(ctx, err, ErrOverloaded)
	}
	defer m.store.pass()
	if time.Until(t.limit) < m.store.MinTime {
		return backends.Signature{}, ErrNoTime
	}
	began := m.key.age()
	signature, err := m.answer(inner, t.digest)
	if err != nil {
		return backends.Signature{}, m.late(ctx, err, began)
	}
	return signature, nil
}

// answer is the store's, and takes the time of it.
func (m *member) answer(ctx context.Context, digest backends.Digest) (backends.Signature, error) {
	began := m.key.age()
	signature, err := m.store.Backend.Sign(ctx, m.ID, digest)
	took := m.key.age() - began
	m.store.Metrics.Answered(took)
	if m.several && err == nil { // where it decides who is asked first
		m.took(took)
	}
	return signature, err
}

// within bounds a call by the time that it has here.
func (t turn) within(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := t.limit
	if t.patience > 0 {
		if sooner := time.Now().Add(t.patience); sooner.Before(limit) {
			limit = sooner
		}
	}
	return context.WithDeadline(ctx, limit)
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

// late is what a call ends with that the store failed or, since it began, did
// not answer.
func (m *member) late(ctx context.Context, err error, began time.Duration) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	silent := &backends.Error{Op: "sign", KeyID: m.ID, Kind: backends.ErrUnavailable, Err: errNoAnswer}
	if m.several && m.silent(began) {
		m.failed(silent)
	}
	return blame(ctx, err, silent)
}

// probe reads the key from its store, compares it with what is known of it, and
// has the store sign a canary, a text that no token can have.
func (m *member) probe(ctx context.Context) error {
	err := m.prove(ctx)
	if err == nil {
		return nil
	}
	if fault := m.fault.Load(); fault != nil && errors.Is(*fault, ErrNotReady) {
		m.fault.CompareAndSwap(fault, &err) // it was tried, whatever came of it
		m.key.changed()
	}
	m.wake()
	return err
}

func (m *member) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.key.timeout)
	defer cancel()
	info, err := m.store.Backend.Describe(ctx, m.ID)
	if err != nil {
		m.store.failed(err)
		m.failed(err)
		return err
	}
	if err := m.pin(info); err != nil {
		return err
	}
	canary, err := Canary(m.key.random)
	if err != nil {
		return err
	}
	_, err = m.sign(ctx, turn{digest: canary})
	return err
}

// Canary returns the digest of a new text that no token can have, for a key to
// sign as a proof.
func Canary(random io.Reader) (backends.Digest, error) {
	canary := make([]byte, 16)
	if _, err := io.ReadFull(random, canary); err != nil {
		return backends.Digest{}, fmt.Errorf("canary: %w", err)
	}
	return sha256.Sum256(append([]byte("jotsmith canary "), hex.EncodeToString(canary)...)), nil
}

// pin accepts what the store says is this key, or latches the member.
func (m *member) pin(info backends.KeyInfo) error {
	err := m.key.pin(info, m)
	if err == nil {
		m.info.Store(&info)
		return nil
	}
	if mismatch, ok := errors.AsType[*backends.Error](err); ok {
		m.store.failed(err)
		return m.latch(mismatch)
	}
	return err
}

// latch puts the member out of use until the configuration is loaded again.
func (m *member) latch(why *backends.Error) error {
	if m.latched.CompareAndSwap(nil, why) {
		m.log.Error("key latched", "error", why)
		m.key.changed()
	}
	return why
}
