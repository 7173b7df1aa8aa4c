//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"

	"github.com/jotsmith/jotsmith/backends"
)

// call runs f on a session for the key of that id, and when that fails climbs
// the recovery ladder and tries again while the context allows. Each rung is
// climbed once a call, so a call ends after a handful of tries.
func (b *backend) call(ctx context.Context, id string, f func(*session, keyID) error) error {
	want, err := b.keys.wanted(id)
	if err != nil {
		return err
	}
	run := func(s *session) error { return f(s, want) }
	var climbed [rungs]bool
	signed := b.signed.Load()
	for {
		token, login, err := b.try(ctx, run)
		if err == nil {
			b.link.prove(token)
			return nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		step := b.step(err, climbed, signed)
		switch {
		case step == rungSpare && climbed[step]:
			return &backends.Error{Kind: backends.ErrThrottled, RetryAfter: b.pace.backoffMin, Err: err}
		case step == rungNone || climbed[step]:
			return err
		}
		climbed[step] = true
		switch step {
		case rungNone, rungSession, rungSpare: // the worker has dropped its session, or left
		case rungLogin:
			b.login.lost(login)
		case rungDevice:
			b.link.lost(token, err)
		}
	}
}

// try runs f once, and says with which token and under which login.
func (b *backend) try(ctx context.Context, f func(*session) error) (token *hsmToken, login uint64, err error) {
	select {
	case <-b.link.stop:
		return nil, 0, &backends.Error{Kind: backends.ErrClosed}
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	default:
	}
	if token, err = b.link.await(ctx); err != nil {
		return nil, 0, err
	}
	login, err = b.pool.do(ctx, token, f)
	return token, login, err
}

// step says which rung to climb after a failure.
func (b *backend) step(err error, climbed [rungs]bool, signed uint64) rung {
	_, step := judge(err)
	var inSign signing
	switch {
	case step == rungDevice && errors.As(err, &inSign):
		// The device's fault, or this key's alone. A new session tells more;
		// if that fails too while other signatures succeed, the device stays.
		if !climbed[rungSession] {
			return rungSession
		}
		if b.signed.Load() != signed {
			return rungNone
		}
	case step == rungSession && climbed[rungSession]:
		return rungDevice // no session works any more
	}
	return step
}
