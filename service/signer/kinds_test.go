package signer

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestEveryKindOfFailureHasAWordOfItsOwn(t *testing.T) {
	known := map[string]error{}
	for _, kind := range append(backends.Kinds(), ErrOverloaded, ErrNoTime) {
		word := kindOf(fmt.Errorf("sign: %w", &backends.Error{Op: "sign", Kind: kind, Err: errors.New("the store's own words")})).word
		if other, twice := known[word]; twice {
			t.Errorf("%v and %v are both %s", kind, other, word)
		}
		known[word] = kind
		if word == unknownKind || !slices.Contains(Kinds(), word) {
			t.Errorf("%v is %s", kind, word)
		}
	}
	if word := kindOf(errors.New("anything")).word; word != unknownKind || !slices.Contains(Kinds(), word) {
		t.Errorf("an unknown failure is %s", word)
	}
}
