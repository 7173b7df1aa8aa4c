//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// rung says what may help against a failure: the steps of the recovery ladder.
type rung int

const (
	rungNone    rung = iota // nothing here helps
	rungSession             // a new session
	rungLogin               // a new login and finding the key again
	rungSpare               // another session than the one that could not be had
	rungDevice              // the module initialised again
)

const rungs = int(rungDevice) + 1

// fail makes an error of a Kind; the operation and the key are filled in by
// [named].
func fail(kind error, format string, args ...any) error {
	return &backends.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// calling adds the function's name to what the module answered; nil stays nil.
func calling(function string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", function, err)
}

// signing marks a failure of C_SignInit or C_Sign. What these two answer may be
// the key's own fault, even when it reads like the device's.
type signing struct{ error }

func (s signing) Unwrap() error { return s.error }

// judge turns a failure into its Kind and the step that may help. It is the
// only reader of CKR codes.
func judge(err error) (kind error, step rung) {
	if err == nil {
		return nil, rungNone
	}
	var known *backends.Error
	var code p11.Error
	switch {
	case errors.As(err, &known):
		return known.Kind, rungNone
	case errors.Is(err, errLost):
		return backends.ErrUnavailable, rungDevice
	case errors.As(err, &code):
		return judgeCode(code)
	}
	return backends.ErrUnavailable, rungNone
}

func judgeCode(code p11.Error) (kind error, step rung) {
	switch code {
	case p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED,
		p11.CKR_OPERATION_ACTIVE, p11.CKR_OPERATION_NOT_INITIALIZED:
		return backends.ErrUnavailable, rungSession

	case p11.CKR_USER_NOT_LOGGED_IN:
		return backends.ErrAccessDenied, rungLogin
	case p11.CKR_OBJECT_HANDLE_INVALID, p11.CKR_KEY_HANDLE_INVALID, p11.CKR_KEY_CHANGED:
		return backends.ErrUnavailable, rungLogin

	case p11.CKR_SESSION_COUNT:
		return backends.ErrThrottled, rungSpare

	case p11.CKR_DEVICE_ERROR, p11.CKR_DEVICE_REMOVED, p11.CKR_DEVICE_MEMORY,
		p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_TOKEN_NOT_RECOGNIZED, p11.CKR_SLOT_ID_INVALID,
		p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED, p11.CKR_HOST_MEMORY,
		p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_LIBRARY_LOAD_FAILED, p11.CKR_FIPS_SELF_TEST_FAILED:
		return backends.ErrUnavailable, rungDevice

	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE:
		return backends.ErrPINIncorrect, rungNone
	case p11.CKR_PIN_LOCKED:
		return backends.ErrPINLocked, rungNone

	case p11.CKR_PIN_EXPIRED, p11.CKR_USER_PIN_NOT_INITIALIZED, p11.CKR_USER_TYPE_INVALID,
		p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, p11.CKR_USER_TOO_MANY_TYPES,
		p11.CKR_SESSION_READ_WRITE_SO_EXISTS, p11.CKR_ACTION_PROHIBITED,
		p11.CKR_TOKEN_WRITE_PROTECTED, p11.CKR_SESSION_READ_ONLY:
		return backends.ErrAccessDenied, rungNone

	case p11.CKR_KEY_TYPE_INCONSISTENT, p11.CKR_KEY_SIZE_RANGE, p11.CKR_KEY_FUNCTION_NOT_PERMITTED,
		p11.CKR_MECHANISM_INVALID, p11.CKR_MECHANISM_PARAM_INVALID, p11.CKR_FUNCTION_NOT_SUPPORTED,
		p11.CKR_DOMAIN_PARAMS_INVALID, p11.CKR_CURVE_NOT_SUPPORTED, p11.CKR_DATA_INVALID,
		p11.CKR_DATA_LEN_RANGE, p11.CKR_ATTRIBUTE_SENSITIVE, p11.CKR_ATTRIBUTE_TYPE_INVALID,
		p11.CKR_ATTRIBUTE_VALUE_INVALID, p11.CKR_TEMPLATE_INCONSISTENT:
		return backends.ErrKeyUnsuitable, rungNone
	}
	if code >= p11.CKR_VENDOR_DEFINED {
		return backends.ErrUnavailable, rungDevice
	}
	return backends.ErrUnavailable, rungNone
}

// named makes an error fit to leave the package: the context's own as it is,
// everything else an *Error with the operation and the key.
func named(op, id string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, id, err)
	}
	if known, ok := errors.AsType[*backends.Error](err); ok {
		out := *known
		out.Op, out.KeyID = op, id
		return &out
	}
	kind, _ := judge(err)
	return &backends.Error{Op: op, KeyID: id, Kind: kind, Err: err}
}
