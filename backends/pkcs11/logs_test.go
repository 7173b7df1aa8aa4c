//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestLogsTellWhatHappenedAndNoSecret goes through what is logged, here and by
// a child that crashes with the PIN in its hands.
func TestLogsTellWhatHappenedAndNoSecret(t *testing.T) {
	var logged syncBuffer
	log := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	digest := backends.Digest(bytes.Repeat([]byte{0xd1}, 32))
	for _, query := range []string{"", "isolate=true"} {
		h := newFaultHSM(t)
		h.setPIN(t, wrongPIN)
		b, err := open(t.Context(), strings.TrimSuffix(h.uri(query), "&"), log, quick())
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Sign(t.Context(), "object=key", digest)
		wantKind(t, err, backends.ErrPINIncorrect)
		h.setPIN(t, faultPIN)
		h.set(wordTriesLeft, allTries) // as after a login by another tool
		h.set(wordDead, 1)
		if query != "" {
			h.set(wordLoginCrashes, 1)
			_, err := b.Sign(t.Context(), "object=key", digest)
			wantKind(t, err, backends.ErrUnavailable)
			h.set(wordLoginCrashes, 0)
		}
		eventually(t, 10*time.Second, func() error {
			_, err := b.Sign(t.Context(), "object=key", digest)
			return err
		})
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	text := logged.String()
	for _, want := range []string{"hsm token found", "hsm token lost", "CKR_DEVICE_ERROR", "the module's process ended", "SIGSEGV"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %q:\n%s", want, text)
		}
	}
	for _, secret := range []string{faultPIN, wrongPIN, hex.EncodeToString(digest[:4]), "0xd1, 0xd1"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
}
