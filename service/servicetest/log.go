package servicetest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log collects what the server logs.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// NewLog returns a Log that is searched for secrets when the test has ended, and
// all that was begun after this call.
func NewLog(t testing.TB) *Log {
	l := &Log{}
	t.Cleanup(func() { SearchForSecrets(t, "the log", l.String()) })
	return l
}

// SearchForSecrets fails a test where a text that is for people to read holds a
// token, a private key, or one of the secrets of this test, as PINs are.
func SearchForSecrets(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	// Every header and every payload of a JWT begins so: {" in base64url.
	for _, secret := range append(secrets, "eyJ", "PRIVATE KEY") {
		at := strings.Index(text, secret)
		if secret == "" || at < 0 {
			continue
		}
		line := text[strings.LastIndex(text[:at], "\n")+1:]
		line, _, _ = strings.Cut(line, "\n")
		t.Errorf("%s holds %q: %s", where, secret, line)
	}
}

// Logger returns a logger of every level into l.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write appends a line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
