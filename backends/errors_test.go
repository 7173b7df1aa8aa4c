package backends

import (
	"errors"
	"io"
	"testing"
)

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	err := error(&Error{Op: "sign", KeyID: "k", Kind: ErrThrottled, Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, ErrThrottled) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v is not both its Kind and its cause", err)
	}
	if errors.Is(err, ErrUnavailable) {
		t.Errorf("%v is of another Kind", err)
	}
	if got, want := err.Error(), "sign k: key store is throttling: unexpected EOF"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}
