package signer

import (
	"context"
	"errors"

	"github.com/jotsmith/jotsmith/backends"
)

// unknownKind is the word for a failure that no other word is for.
const unknownKind = "other"

// failureKind is a failure and the word by which it is counted.
type failureKind struct {
	is      error // what errors.Is finds
	word    string
	stores  bool // the store as a whole is away, whichever key is asked for
	callers bool // it lies with the caller alone
}

// failureKinds returns all of them, first match first.
func failureKinds() []failureKind {
	return []failureKind{
		{is: ErrOverloaded, word: "overloaded"},
		{is: ErrNoTime, word: "no_time", callers: true},
		{is: backends.ErrThrottled, word: "throttled", stores: true},
		{is: backends.ErrUnavailable, word: "unavailable", stores: true},
		{is: backends.ErrKeyNotFound, word: "key_not_found"},
		{is: backends.ErrKeyDisabled, word: "key_disabled"},
		{is: backends.ErrAccessDenied, word: "access_denied"},
		{is: backends.ErrKeyUnsuitable, word: "key_unsuitable"},
		{is: backends.ErrKeyMismatch, word: "key_mismatch"},
		{is: backends.ErrPINIncorrect, word: "pin_incorrect", stores: true},
		{is: backends.ErrPINLocked, word: "pin_locked", stores: true},
		{is: backends.ErrSignatureInvalid, word: "signature_invalid"},
		{is: backends.ErrClosed, word: "closed"},
		{is: context.Canceled, word: "cancelled", callers: true},
		{is: context.DeadlineExceeded, word: "deadline", callers: true},
	}
}

// Kinds returns the words by which failures are counted.
func Kinds() []string {
	words := []string{unknownKind}
	for _, row := range failureKinds() {
		words = append(words, row.word)
	}
	return words
}

// kindOf is what a failure is counted as.
func kindOf(err error) failureKind {
	for _, row := range failureKinds() {
		if errors.Is(err, row.is) {
			return row
		}
	}
	return failureKind{word: unknownKind}
}
