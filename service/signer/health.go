package signer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// How long watch waits between two tries of a key that cannot sign.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// failed takes note of why the key could not sign, unless the reason lies with
// the caller or with the load on this server.
func (k *key) failed(err error) {
	var storeFault *backends.Error
	if !errors.As(err, &storeFault) {
		if k.info.Load() == nil {
			k.fault.Store(&err) // the store did not answer while the key was first read
			k.wake()
		}
		return
	}
	if errors.Is(err, backends.ErrThrottled) || errors.Is(err, backends.ErrClosed) {
		return
	}
	if errors.Is(err, backends.ErrSignatureInvalid) || errors.Is(err, backends.ErrKeyMismatch) {
		_ = k.latch(storeFault) // the caller gets the error itself
		return
	}
	if known := k.fault.Load(); known != nil && revoked(*known) && !revoked(err) {
		k.wake() // a store that went away since does not give the key back
		return
	}
	if before := k.fault.Swap(&err); before == nil || errors.Is(*before, ErrNotReady) {
		k.log.Warn("key cannot sign", "error", err)
		k.report(false)
	}
	k.wake()
}

// recovered takes note that the key signs again.
func (k *key) recovered() {
	if before := k.fault.Swap(nil); before != nil {
		k.log.Info("key can sign")
		k.report(true)
	}
}

func (k *key) wake() {
	select {
	case k.sick <- struct{}{}:
	default:
	}
}

// watch tries a key that could not sign until it can, and then waits for the
// next time.
func (k *key) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.sick:
		}
		for wait := firstRetry; k.fault.Load() != nil && k.latched.Load() == nil; wait = min(2*wait, lastRetry) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(k.jitter(wait)):
			}
			_ = k.probe(ctx) // failed and recovered have taken note
		}
	}
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
