package signer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

const (
	// How long watch waits between two tries of a member that cannot sign.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// idleTest is how long a member among several goes without a signature until
	// it is tested: one that is not needed now has to be there when it is.
	idleTest = time.Minute
	// How long a member among several is spared that throttles, at first and at
	// the most.
	minRest = 50 * time.Millisecond
	maxRest = 5 * time.Second
)

// state is whether a key can sign.
type state int

const (
	unknown state = iota // some members were not tried yet, and none can sign so far
	healthy
	ill
)

// state says whether the key could sign when it was last asked: one healthy
// member is enough.
func (k *key) state() state {
	if k.latched.Load() != nil {
		return ill
	}
	now := ill
	for _, m := range k.members {
		switch why := m.why(); {
		case why == nil:
			return healthy
		case errors.Is(why, ErrNotReady):
			now = unknown
		}
	}
	return now
}

// why says why the key could not sign when it was last asked, nil where it
// could: of its members' reasons the one that may be over soonest.
func (k *key) why() error {
	if latched := k.latched.Load(); latched != nil {
		return latched
	}
	var why error
	for _, m := range k.members {
		fault := m.why()
		if fault == nil {
			return nil
		}
		why = sooner(why, fault)
	}
	return why
}

// changed reports the key's health where it is another since a member's
// changed.
func (k *key) changed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.state()
	if now == unknown || now == k.told {
		return
	}
	if now == healthy {
		k.log.Info("key can sign")
	} else if k.latched.Load() == nil { // which has been said
		k.log.Warn("key cannot sign", "error", k.why())
	}
	k.told = now
	k.report(now == healthy)
}

// failed takes note of why a member could not sign, unless the reason lies with
// the caller or with the load on this server.
func (m *member) failed(err error) {
	var storeFault *backends.Error
	if !errors.As(err, &storeFault) {
		if m.info.Load() == nil { // the store did not answer while the key was first read
			m.out(err)
		}
		return
	}
	switch {
	case errors.Is(err, backends.ErrClosed):
		return
	case errors.Is(err, backends.ErrThrottled):
		m.rest(storeFault.RetryAfter)
		return
	case errors.Is(err, backends.ErrSignatureInvalid):
		_ = m.lied(storeFault) // the caller gets the error itself
		return
	case errors.Is(err, backends.ErrKeyMismatch):
		_ = m.latch(storeFault)
		return
	}
	if known := m.fault.Load(); known != nil && revoked(*known) && !revoked(err) {
		m.wake() // a store that went away since does not give the key back
		return
	}
	m.out(err)
}

// out takes a member out of use until a canary, or a call that has nowhere else
// to go, finds that it signs again.
func (m *member) out(err error) {
	before := m.fault.Swap(&err)
	if m.several && (before == nil || errors.Is(*before, ErrNotReady)) {
		m.log.Warn("key cannot sign here", "error", err)
		for _, other := range m.key.members {
			if other != m { // it may be needed now
				other.hurried()
			}
		}
	}
	m.key.changed()
	m.wake()
}

// recovered takes note that the member signs again.
func (m *member) recovered() {
	if before := m.fault.Swap(nil); before != nil {
		m.silence.Store(0)
		if m.several {
			m.log.Info("key can sign here")
		}
		m.key.changed()
	}
}

// lied latches the key: a store of it made a wrong signature.
func (m *member) lied(why *backends.Error) error {
	m.latched.CompareAndSwap(nil, why)
	if m.key.latched.CompareAndSwap(nil, why) {
		m.log.Error("key latched", "error", why)
		m.key.changed()
	}
	return why
}

// rest spares a member that throttles, where there are others: for as long as it
// says and, when it goes on throttling, each time for longer.
func (m *member) rest(d time.Duration) {
	if now := m.key.age(); m.several && m.rests.Load() <= int64(now) {
		again := min(m.throttled.Add(1), 8) - 1
		m.rests.Store(int64(now + min(max(d, minRest<<again), maxRest)))
	}
}

// age is a monotonic time that fits an atomic.
func (k *key) age() time.Duration { return time.Since(k.born) }

func (m *member) wake() {
	select {
	case m.sick <- struct{}{}:
	default:
	}
}

// hurried has a member that cannot sign tried at once.
func (m *member) hurried() {
	if m.why() == nil {
		return
	}
	select {
	case m.hurry <- struct{}{}:
	default:
	}
}

// watch tries a member that could not sign until it can, and then waits for the
// next time. One that was well for a short time only is tried the more rarely.
func (m *member) watch(ctx context.Context) {
	for wait := firstRetry; ; {
		since := m.key.age()
		select {
		case <-ctx.Done():
			return
		case <-m.sick:
		case <-m.idle():
			if m.testable() && m.key.age()-time.Duration(m.answered.Load()) >= idleTest/2 {
				_ = m.probe(ctx) // failed and recovered take note
			}
		}
		if m.key.age()-since > lastRetry {
			wait = firstRetry
		}
		for ; m.testable() && m.fault.Load() != nil; wait = min(2*wait, lastRetry) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(m.key.jitter(wait)):
			case <-m.hurry:
				wait = firstRetry
			}
			_ = m.probe(ctx)
		}
	}
}

// testable says whether a canary can change anything.
func (m *member) testable() bool { return m.latched.Load() == nil && m.key.latched.Load() == nil }

// idle comes when a member among several should have signed something.
func (m *member) idle() <-chan time.Time {
	if !m.several {
		return nil
	}
	return time.After(m.key.jitter(idleTest))
}

// jitter returns a duration between half of d and d, so that many servers do
// not come back to one store together.
func (k *key) jitter(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(k.random, b[:]); err != nil {
		return d
	}
	half := uint64(d / 2)
	return time.Duration(half + binary.BigEndian.Uint64(b[:])%half)
}

// revoked says whether a fault means that somebody has taken the key away.
func revoked(err error) bool {
	return isAny(err, backends.ErrKeyDisabled, backends.ErrKeyNotFound, backends.ErrAccessDenied,
		backends.ErrKeyMismatch, backends.ErrKeyUnsuitable, backends.ErrSignatureInvalid)
}

// heals says whether a fault may pass without a change of the configuration.
func heals(err error) bool {
	return isAny(err, backends.ErrUnavailable, backends.ErrThrottled, backends.ErrKeyDisabled, backends.ErrPINIncorrect,
		backends.ErrPINLocked, context.DeadlineExceeded, ErrOverloaded, ErrNoTime)
}

func isAny(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
