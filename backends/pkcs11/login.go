//go:build cgo && unix

package pkcs11

import (
	"errors"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// login owns the user's login with the token. PKCS#11 knows one per
// application and token, not one per session (PKCS#11 v3.1 section 5.6.8), so
// one worker makes it and all sessions have it.
type login struct {
	module  *module
	pinPath string
	state   *pinState

	current atomic.Pointer[loginMade] // the login in force; nil while there is none

	mu    sync.Mutex // held across C_Login, so that the others wait for the first
	count uint64     // logins made so far
}

// loginMade is a login that succeeded with the token as it was found.
type loginMade struct {
	serial uint64
	token  *hsmToken
}

// ensure logs the token in unless it is. It notes in the session which login it
// works under: handles found under another are not to be used.
func (l *login) ensure(s *session) error {
	if made := l.current.Load(); made != nil && made.token == s.token {
		s.login = made.serial
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	made := l.current.Load()
	if made == nil || made.token != s.token {
		if err := l.make(s); err != nil {
			return err
		}
		l.count++
		made = &loginMade{serial: l.count, token: s.token}
		l.current.Store(made)
	}
	s.login = made.serial
	return nil
}

// lost says that the token no longer knows the login, or its handles.
func (l *login) lost(serial uint64) {
	if made := l.current.Load(); made != nil && made.serial == serial {
		l.current.CompareAndSwap(made, nil)
	}
}

// make logs in, unless the application already is.
func (l *login) make(s *session) error {
	info, err := s.ctx.GetSessionInfo(s.handle)
	if err != nil {
		return calling("C_GetSessionInfo", err)
	}
	if info.State == p11.CKS_RO_USER_FUNCTIONS || info.State == p11.CKS_RW_USER_FUNCTIONS {
		return nil
	}
	if s.token.info.Flags&p11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	return l.tryPIN(s, p11.CKU_USER)
}

// tryPIN hands the PIN to the token, once per value. With CKU_CONTEXT_SPECIFIC
// it is for the operation that is active in the session.
func (l *login) tryPIN(s *session, user uint) error {
	p, err := readPIN(l.pinPath)
	if err != nil {
		return err
	}
	defer p.wipe()
	serial := s.token.info.SerialNumber
	if kind, err := l.refused(serial, p); err != nil {
		return err
	} else if kind != nil {
		return fail(kind, "the token refused the PIN in %s before and it is not tried again: write the right PIN into that file "+
			"(if the token has been given this PIN since, %s)", l.pinPath, l.state.remedy())
	}
	info, err := s.ctx.GetTokenInfo(s.token.slot)
	if err != nil {
		return calling("C_GetTokenInfo", err)
	}
	switch {
	case info.Flags&p11.CKF_USER_PIN_LOCKED != 0:
		return fail(backends.ErrPINLocked, "no login is tried: have the security officer unlock the user PIN")
	case info.Flags&p11.CKF_USER_PIN_FINAL_TRY != 0:
		return fail(backends.ErrPINLocked, "one more wrong PIN would lock it, so no login is tried: "+
			"log in once with the right PIN by another tool, such as pkcs11-tool --login --test")
	}
	err = s.ctx.Login(s.handle, user, p.borrow())
	if err == nil || errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil
	}
	switch kind, _ := judge(err); kind {
	case backends.ErrPINIncorrect, backends.ErrPINLocked:
		return l.refuse(serial, p, kind, err)
	}
	return calling("C_Login", err)
}

// refused returns the Kind with which the PIN was refused, here or before a
// restart; nil if it was not.
func (l *login) refused(serial string, p pin) (kind, err error) {
	if kind := l.module.refused.has(serial, p); kind != nil {
		return kind, nil
	}
	known, err := l.state.has(serial, p)
	if !known || err != nil {
		return nil, err
	}
	l.module.refused.add(serial, p, backends.ErrPINIncorrect)
	return backends.ErrPINIncorrect, nil
}

// refuse remembers a refusal. Only a wrong PIN outlives the process: a PIN that
// met a locked token may be the right one.
func (l *login) refuse(serial string, p pin, kind, err error) error {
	l.module.refused.add(serial, p, kind)
	if kind == backends.ErrPINIncorrect {
		if stateErr := l.state.add(serial, p); stateErr != nil {
			return fail(kind, "C_Login: %w, and it cannot be remembered: %w", err, stateErr)
		}
	}
	return fail(kind, "C_Login: %w: write the right PIN into %s", err, l.pinPath)
}
