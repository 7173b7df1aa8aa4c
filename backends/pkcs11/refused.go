//go:build cgo && unix

package pkcs11

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
	case verdictPending, verdictFine:
	}
	return nil
}

// pinLedger records what tokens say of PINs, so that none that was refused is
// tried again. A try is begin, mark pending, C_Login, end; one is under way at
// a time. The process's ledger is a [pinMemory]; the child process of
// isolate=true reaches that of its parent over the wire.
type pinLedger interface {
	// digest names a PIN of the token with that serial number.
	digest(serial string, p pin) pinDigest
	// begin waits for its turn and returns what is known.
	begin(pinDigest) (verdict, error)
	// mark records a verdict that must survive this process.
	mark(pinDigest, verdict) error
	// end records the verdict and ends the turn.
	end(pinDigest, verdict) error
}

// pinDigest stands for one PIN of one token.
type pinDigest [32]byte

// pinMemory is the ledger of a process. It holds no PIN, only digests under a
// key that dies with the process.
type pinMemory struct {
	key  pinKey
	turn chan struct{} // one place: held from begin to end

	mu       sync.Mutex
	verdicts map[pinDigest]verdict
}

type pinKey []byte

func (k pinKey) digest(serial string, p pin) pinDigest {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(serial))
	mac.Write([]byte{0})
	mac.Write(p)
	return pinDigest(mac.Sum(nil))
}

func newPINMemory() *pinMemory {
	key := make(pinKey, 32)
	_, _ = rand.Read(key) // never fails, says its documentation
	return &pinMemory{key: key, turn: make(chan struct{}, 1), verdicts: map[pinDigest]verdict{}}
}

func (m *pinMemory) digest(serial string, p pin) pinDigest { return m.key.digest(serial, p) }

func (m *pinMemory) begin(d pinDigest) (verdict, error) {
	m.turn <- struct{}{}
	return m.known(d), nil
}

func (m *pinMemory) known(d pinDigest) verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.verdicts[d]
}

func (m *pinMemory) mark(d pinDigest, v verdict) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v == verdictFine {
		delete(m.verdicts, d)
	} else {
		m.verdicts[d] = v
	}
	return nil
}

func (m *pinMemory) end(d pinDigest, v verdict) error {
	err := m.mark(d, v)
	<-m.turn
	return err
}
