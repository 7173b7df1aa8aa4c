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
	pins    pinLedger
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
	digest := l.pins.digest(s.token.info.SerialNumber, p)
	before, err := l.pins.begin(digest)
	if err != nil {
		return err
	}
	after, err := l.try(s, user, p, digest, before)
	return errors.Join(err, l.pins.end(digest, after))
}

// try returns what is known of the PIN after it, and why the login failed.
func (l *login) try(s *session, user uint, p pin, digest pinDigest, before verdict) (after verdict, err error) {
	if before.kind() == nil {
		refused, err := l.state.has(s.token.info.SerialNumber, p)
		if err != nil {
			return before, err
		}
		if refused {
			before = verdictIncorrect
		}
	}
	if err := l.mayTry(s, before); err != nil {
		return before, err
	}
	if err := l.pins.mark(digest, verdictPending); err != nil {
		return before, err
	}
	err = s.ctx.Login(s.handle, user, p.borrow())
	if err == nil || errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
		return verdictFine, nil
	}
	kind, step := judge(err)
	switch {
	case errors.Is(kind, backends.ErrPINIncorrect):
		err = errors.Join(err, l.state.add(s.token.info.SerialNumber, p))
		return verdictIncorrect, fail(kind, "C_Login: %w: write the right PIN into %s", err, l.pinPath)
	case errors.Is(kind, backends.ErrPINLocked):
		// Not for the state directory: the PIN may be the right one.
		return verdictLocked, fail(kind, "C_Login: %w: have the security officer unlock the user PIN, then restart", err)
	case step == rungDevice:
		return verdictPending, calling("C_Login", err)
	}
	return verdictFine, calling("C_Login", err)
}

// mayTry says why the PIN must not be handed to the token, or nil.
func (l *login) mayTry(s *session, before verdict) error {
	if kind := before.kind(); kind != nil {
		return fail(kind, "the token refused the PIN in %s before and it is not tried again: write the right PIN into that file "+
			"(if the token has been given this PIN since, %s)", l.pinPath, l.state.remedy())
	}
	info, err := s.ctx.GetTokenInfo(s.token.slot)
	if err != nil {
		return calling("C_GetTokenInfo", err)
	}
	const mend = "log in once with the right PIN by another tool, such as pkcs11-tool --login --test"
	switch {
	case info.Flags&p11.CKF_USER_PIN_LOCKED != 0:
		return fail(backends.ErrPINLocked, "no login is tried: have the security officer unlock the user PIN")
	case info.Flags&p11.CKF_USER_PIN_FINAL_TRY != 0:
		return fail(backends.ErrPINLocked, "one more wrong PIN would lock it, so no login is tried: "+mend)
	case before == verdictPending && info.Flags&p11.CKF_USER_PIN_COUNT_LOW != 0:
		// The last try got no answer, and the token counts a wrong one.
		return fail(backends.ErrPINIncorrect, "the device failed while it had the PIN in %s, and counts a wrong try since: "+
			"write the right PIN into that file, or %s", l.pinPath, mend)
	}
	return nil
}
