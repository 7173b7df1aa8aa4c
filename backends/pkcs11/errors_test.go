//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

func TestJudge(t *testing.T) {
	type verdict struct {
		kind error
		step rung
	}
	cases := map[verdict][]uint{
		{backends.ErrUnavailable, rungSession}: {
			p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_OPERATION_ACTIVE, p11.CKR_OPERATION_NOT_INITIALIZED,
		},
		{backends.ErrAccessDenied, rungLogin}: {p11.CKR_USER_NOT_LOGGED_IN},
		{backends.ErrUnavailable, rungLogin}:  {p11.CKR_OBJECT_HANDLE_INVALID, p11.CKR_KEY_HANDLE_INVALID, p11.CKR_KEY_CHANGED},
		{backends.ErrThrottled, rungSpare}:    {p11.CKR_SESSION_COUNT},
		{backends.ErrUnavailable, rungDevice}: {
			p11.CKR_DEVICE_ERROR, p11.CKR_DEVICE_REMOVED, p11.CKR_DEVICE_MEMORY, p11.CKR_TOKEN_NOT_PRESENT,
			p11.CKR_TOKEN_NOT_RECOGNIZED, p11.CKR_SLOT_ID_INVALID, p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED,
			p11.CKR_HOST_MEMORY, p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_LIBRARY_LOAD_FAILED, p11.CKR_FIPS_SELF_TEST_FAILED,
			p11.CKR_VENDOR_DEFINED, p11.CKR_VENDOR_DEFINED + 0x42,
		},
		{backends.ErrPINIncorrect, rungNone}: {p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE},
		{backends.ErrPINLocked, rungNone}:    {p11.CKR_PIN_LOCKED},
		{backends.ErrAccessDenied, rungNone}: {
			p11.CKR_PIN_EXPIRED, p11.CKR_USER_PIN_NOT_INITIALIZED, p11.CKR_USER_TYPE_INVALID,
			p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, p11.CKR_USER_TOO_MANY_TYPES,
			p11.CKR_SESSION_READ_WRITE_SO_EXISTS, p11.CKR_ACTION_PROHIBITED,
		},
		{backends.ErrKeyUnsuitable, rungNone}: {
			p11.CKR_KEY_TYPE_INCONSISTENT, p11.CKR_KEY_SIZE_RANGE, p11.CKR_KEY_FUNCTION_NOT_PERMITTED, p11.CKR_MECHANISM_INVALID,
			p11.CKR_MECHANISM_PARAM_INVALID, p11.CKR_FUNCTION_NOT_SUPPORTED, p11.CKR_DOMAIN_PARAMS_INVALID,
			p11.CKR_CURVE_NOT_SUPPORTED, p11.CKR_DATA_INVALID, p11.CKR_DATA_LEN_RANGE, p11.CKR_ATTRIBUTE_SENSITIVE,
			p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_VALUE_INVALID, p11.CKR_TEMPLATE_INCONSISTENT,
		},
		{backends.ErrUnavailable, rungNone}: {p11.CKR_CANCEL, p11.CKR_CANT_LOCK, p11.CKR_ARGUMENTS_BAD, 0x7fffffff},
	}
	for want, codes := range cases {
		for _, code := range codes {
			kind, step := judge(calling("C_Test", p11.Error(code)))
			if !errors.Is(kind, want.kind) || step != want.step {
				t.Errorf("%v is judged %v, rung %d, want %v, rung %d", p11.Error(code), kind, step, want.kind, want.step)
			}
		}
	}
}

func TestNamed(t *testing.T) {
	inner := &backends.Error{Kind: backends.ErrThrottled, RetryAfter: time.Second, Err: p11.Error(p11.CKR_SESSION_COUNT)}
	var e *backends.Error
	if err := named("sign", "object=k", fmt.Errorf("more: %w", inner)); !errors.As(err, &e) ||
		e.Op != "sign" || e.KeyID != "object=k" || !errors.Is(e.Kind, backends.ErrThrottled) || e.RetryAfter != time.Second {
		t.Errorf("named = %v", err)
	}
	if inner.Op != "" {
		t.Error("the inner error was changed, which others may hold")
	}
	if err := named("sign", "k", context.Canceled); !errors.Is(err, context.Canceled) || errors.As(err, &e) {
		t.Errorf("a context's error became %v", err)
	}
	err := named("sign", "object=k", signing{calling("C_Sign", p11.Error(p11.CKR_DEVICE_ERROR))})
	if !strings.Contains(err.Error(), "C_Sign: pkcs11: 0x30: CKR_DEVICE_ERROR") || !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("named = %v", err)
	}
}
