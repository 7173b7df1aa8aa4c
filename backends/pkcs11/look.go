//go:build cgo && unix

package pkcs11

import (
	"context"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// Look says what is known of the token of a backend's URI and of its PIN. It
// makes no login and opens no session: C_GetTokenInfo is all that the token is
// asked. The error is about the URI, or is the context's: a module that hangs is
// left behind then, which only the end of the process stops.
//
// The module is loaded into this process, with isolate=true too.
func Look(ctx context.Context, uri string) (TokenState, error) {
	c, err := parseURI(uri)
	if err != nil {
		return TokenState{}, named("look", "", fail(backends.ErrUnavailable, "%w", err))
	}
	done := make(chan TokenState, 1)
	go func() { done <- look(c) }() // a C call cannot be cancelled
	select {
	case state := <-done:
		return state, nil
	case <-ctx.Done():
		return TokenState{}, ctx.Err()
	}
}

func look(c config) TokenState {
	var state TokenState
	memory, err := newPINState(c.pinState)
	state.Remembers, state.Memory = c.pinState != "", err
	p, err := readPIN(c.pinSource)
	state.PINFile = err
	defer p.wipe()

	token, err := tokenOf(c)
	if err != nil {
		state.Token = err
		return state
	}
	flags := token.info.Flags
	state.Label, state.Serial = token.info.Label, token.info.SerialNumber
	state.LoginRequired = flags&p11.CKF_LOGIN_REQUIRED != 0
	state.PINSet = flags&p11.CKF_USER_PIN_INITIALIZED != 0
	state.CountLow = flags&p11.CKF_USER_PIN_COUNT_LOW != 0
	state.FinalTry = flags&p11.CKF_USER_PIN_FINAL_TRY != 0
	state.Locked = flags&p11.CKF_USER_PIN_LOCKED != 0
	state.ToBeChanged = flags&p11.CKF_USER_PIN_TO_BE_CHANGED != 0
	if state.Memory == nil && state.PINFile == nil {
		state.Refused, state.Memory = memory.has(state.Serial, p)
		state.RefusedMend = memory.remedy()
	}
	return state
}

// tokenOf finds a token, and leaves the module as it was found.
func tokenOf(c config) (*hsmToken, error) {
	m, err := modules.acquire(c)
	if err != nil {
		return nil, err
	}
	defer m.release()
	generation, err := m.renew(nil, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	if err := m.enter(generation); err != nil {
		return nil, err
	}
	defer m.leave()
	return findToken(m.ctx, c.token)
}
