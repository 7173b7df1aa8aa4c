package backends

import (
	"errors"
	"strings"
	"time"
)

// The Kinds of failure. Each says whose turn it is: the caller's to wait, the
// operator's to mend, or nobody's, because the store lied.
var (
	// ErrThrottled: the store, or the backend's own limiter ahead of it, takes
	// no more for now. Error.RetryAfter says how long to wait.
	ErrThrottled = errors.New("key store is throttling")
	// ErrUnavailable: the store cannot be reached or is failing; the same call
	// may succeed later.
	ErrUnavailable = errors.New("key store is unavailable")
	// ErrKeyNotFound: the store has no key of that id.
	ErrKeyNotFound = errors.New("key not found")
	// ErrKeyDisabled: the key exists and is disabled or pending deletion.
	ErrKeyDisabled = errors.New("key is disabled")
	// ErrAccessDenied: the store does not let this program use the key.
	ErrAccessDenied = errors.New("access to the key is denied")
	// ErrKeyUnsuitable: not an ECDSA P-256 key, or one that may not sign.
	ErrKeyUnsuitable = errors.New("key is not usable for ES256")
	// ErrKeyMismatch: the key is not the one that was pinned or last described.
	ErrKeyMismatch = errors.New("key is not the expected one")
	// ErrPINIncorrect: the token refused the user PIN. The backend does not try
	// the same PIN again.
	ErrPINIncorrect = errors.New("user PIN is incorrect")
	// ErrPINLocked: the token's user PIN is locked, or one more wrong try would
	// lock it.
	ErrPINLocked = errors.New("user PIN is locked")
	// ErrSignatureInvalid: the store answered something that is not a P-256
	// signature, or not one over what was asked for.
	ErrSignatureInvalid = errors.New("signature is invalid")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("key backend is closed")
)

// Kinds lists every Kind, for tables and tests that must cover them all.
func Kinds() []error {
	return []error{
		ErrThrottled, ErrUnavailable, ErrKeyNotFound, ErrKeyDisabled, ErrAccessDenied, ErrKeyUnsuitable,
		ErrKeyMismatch, ErrPINIncorrect, ErrPINLocked, ErrSignatureInvalid, ErrClosed,
	}
}

// Error is how a backend fails. errors.Is finds its Kind and what Err wraps.
// Its text is for the operator's log: it may name the key and the store's own
// code, never a PIN, key bytes or a signature.
type Error struct {
	Op         string        // "open", "describe" or "sign"; of a [Generator] or [Importer] also "generate", "plan" or "import"
	KeyID      string        // the id as the caller gave it; empty when no key is concerned
	Kind       error         // one of the package's Err values
	RetryAfter time.Duration // how long to wait before the next try; 0 when unknown
	Err        error         // the store's own error; nil when the Kind says it all
}

// Error says operation, key, Kind and the store's own words, in this order.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.KeyID != "" {
		b.WriteString(" " + e.KeyID)
	}
	b.WriteString(": " + e.Kind.Error())
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the Kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
