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
	is   error // what errors.Is finds
	word string
}

// failureKinds returns all of them, first match first.
func failureKinds() []failureKind {
	return []failureKind{
		{ErrOverloaded, "overloaded"},
		{ErrNoTime, "no_time"},
		{backends.ErrThrottled, "throttled"},
		{backends.ErrUnavailable, "unavailable"},
		{backends.ErrKeyNotFound, "key_not_found"},
		{backends.ErrKeyDisabled, "key_disabled"},
		{backends.ErrAccessDenied, "access_denied"},
		{backends.ErrKeyUnsuitable, "key_unsuitable"},
		{backends.ErrKeyMismatch, "key_mismatch"},
		{backends.ErrPINIncorrect, "pin_incorrect"},
		{backends.ErrPINLocked, "pin_locked"},
		{backends.ErrSignatureInvalid, "signature_invalid"},
		{backends.ErrClosed, "closed"},
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "deadline"},
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

// kindOf is the word by which a failure is counted.
func kindOf(err error) string {
	for _, row := range failureKinds() {
		if errors.Is(err, row.is) {
			return row.word
		}
	}
	return unknownKind
}
