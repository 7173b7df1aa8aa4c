//go:build cgo && unix

package pkcs11

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"sync"

	"github.com/jotsmith/jotsmith/backends"
)

// verdict is what a token said of a PIN.
type verdict string

const (
	verdictPending   verdict = "pending"   // handed over, and no answer came (yet)
	verdictIncorrect verdict = "incorrect" // refused
	verdictLocked    verdict = "locked"    // not looked at: the user PIN was locked
	verdictFine      verdict = ""          // accepted, or never tried
)

// kind is the Kind of error that a further try would deserve, or nil.
func (v verdict) kind() error {
	switch v {
	case verdictIncorrect:
		return backends.ErrPINIncorrect
	case verdictLocked:
		return backends.ErrPINLocked
	}
	return nil
}

// pinMemory remembers what tokens said of PINs, so that none that was refused
// is tried again. It holds no PIN, only digests under a key that dies with the
// process.
type pinMemory struct {
	mu       sync.Mutex
	key      []byte
	verdicts map[pinDigest]verdict
	notify   func(pinDigest, verdict) error // told of every change before it counts; or nil
}

// pinDigest stands for one PIN of one token.
type pinDigest [32]byte

func newPINMemory() *pinMemory {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, says its documentation
	return &pinMemory{key: key, verdicts: map[pinDigest]verdict{}}
}

// note remembers a verdict. An error means that somebody could not be told, and
// that the PIN must not be handed over.
func (m *pinMemory) note(d pinDigest, v verdict) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notify != nil {
		if err := m.notify(d, v); err != nil {
			return err
		}
	}
	if v == verdictFine {
		delete(m.verdicts, d)
	} else {
		m.verdicts[d] = v
	}
	return nil
}

func (m *pinMemory) verdict(d pinDigest) verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.verdicts[d]
}

// digest names a PIN of the token with that serial number.
func (m *pinMemory) digest(serial string, p pin) pinDigest {
	m.mu.Lock()
	defer m.mu.Unlock()
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(serial))
	mac.Write([]byte{0})
	mac.Write(p)
	return pinDigest(mac.Sum(nil))
}

// copy returns the key and the verdicts, for a child process to start with.
func (m *pinMemory) copy() (key []byte, verdicts map[pinDigest]verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.key, maps.Clone(m.verdicts)
}

// replace takes over what the parent process knows.
func (m *pinMemory) replace(key []byte, verdicts map[pinDigest]verdict, notify func(pinDigest, verdict) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.key, m.notify = key, notify
	m.verdicts = map[pinDigest]verdict{}
	maps.Copy(m.verdicts, verdicts)
}
