// Package backendtest is the contract of [backends.KeyBackend] as a test. Every
// backend runs it against its real store:
//
//	func TestContract(t *testing.T) { backendtest.Run(t, backendtest.Harness{...}) }
//
// A case that a store cannot have is declared in Harness.Deviations with its
// reason; a case that is neither possible nor declared fails.
package backendtest

import (
	"crypto/ecdsa"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

// Key is a key that exists in the store under test.
type Key struct {
	ID     string           // as Describe and Sign take it
	Public *ecdsa.PublicKey // known from elsewhere than the backend under test
}

// Case names a part of the contract that a Harness may declare impossible.
type Case string

// The cases that some stores cannot have.
const (
	Disabled   Case = "disabled"    // Harness.Disabled
	WrongCurve Case = "wrong-curve" // Harness.WrongCurve
	Outage     Case = "outage"      // Harness.Outage
)

// Harness is a real store with keys in it.
type Harness struct {
	// Open returns a new backend over the store. Run closes it.
	Open func(t *testing.T) backends.KeyBackend
	// Keys are two different usable keys.
	Keys [2]Key
	// Unknown is the id of no key, well formed.
	Unknown string
	// Malformed are ids that no store of this kind can hold.
	Malformed []string
	// Disabled is the id of a key that exists and must not sign.
	Disabled string
	// WrongCurve is the id of a key that exists and is not on P-256.
	WrongCurve string
	// Outage takes the store away from every open backend and returns how to
	// bring it back.
	Outage func(t *testing.T) (restore func())
	// Deviations says, for each case left out above, why this store has none.
	Deviations map[Case]string
	// Secrets are texts that no error may hold: PINs, key bytes.
	Secrets []string
	// Signatures is how many signatures the statistical part makes; 0 means
	// 2,000, enough to meet an r or s with a leading zero byte.
	Signatures int
}
