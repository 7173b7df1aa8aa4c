//go:build cgo && unix

package pkcs11

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// refusedPINs remembers which PINs a token refused, so that none is tried
// twice. It keeps no PIN, only a digest under a key that dies with the process.
type refusedPINs struct {
	mu   sync.Mutex
	key  [32]byte
	seen map[[32]byte]error // the Kind of the refusal
}

// add remembers that the token of this serial number refused the PIN.
func (r *refusedPINs) add(serial string, p pin, kind error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[[32]byte]error{}
		_, _ = rand.Read(r.key[:]) // never fails, says its documentation
	}
	r.seen[r.digest(serial, p)] = kind
}

// has returns the Kind with which the PIN was refused, or nil.
func (r *refusedPINs) has(serial string, p pin) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		return nil
	}
	return r.seen[r.digest(serial, p)]
}

func (r *refusedPINs) digest(serial string, p pin) [32]byte {
	mac := hmac.New(sha256.New, r.key[:])
	mac.Write([]byte(serial))
	mac.Write([]byte{0})
	mac.Write(p)
	return [32]byte(mac.Sum(nil))
}
