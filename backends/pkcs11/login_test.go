//go:build cgo && unix

package pkcs11

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

func signOnce(b backends.KeyBackend, t testing.TB) error {
	_, err := b.Sign(t.Context(), "object=key", backends.Digest{1})
	return err
}

func TestOneLoginForManyCallers(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 10 {
				if err := signOnce(b, t); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := h.calls(callLogin); got != 1 {
		t.Errorf("%d calls of C_Login, want 1", got)
	}
	if got := h.calls(callOpenSession); got > defaultSessions+1 {
		t.Errorf("%d sessions opened, want at most %d and the anchor", got, defaultSessions)
	}
}

func TestOneLoginAgainAfterLogout(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	for round := 2; round < 5; round++ {
		h.bump(wordLoginEpoch)
		h.bump(wordHandleEpoch)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := signOnce(b, t); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := h.calls(callLogin); got != round {
			t.Errorf("%d calls of C_Login, want %d", got, round)
		}
	}
	if got := h.calls(callInitialize); got != 1 {
		t.Errorf("%d calls of C_Initialize, want 1: a logout needs no new one", got)
	}
}

func TestWrongPINIsTriedOnceAndMendedInPlace(t *testing.T) {
	h := newFaultHSM(t)
	h.setPIN(t, wrongPIN)
	b := openQuick(t, h.uri())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if err := signOnce(b, t); !errors.Is(err, backends.ErrPINIncorrect) {
				t.Errorf("Sign with a wrong PIN = %v", err)
			}
		})
	}
	wg.Wait()
	_, err := b.Describe(t.Context(), "object=key")
	wantKind(t, err, backends.ErrPINIncorrect)
	if got := h.calls(callLogin); got != 1 {
		t.Fatalf("%d calls of C_Login with one wrong PIN, want 1", got)
	}

	// Another backend over the same module with the same PIN knows of it, and
	// one with the right PIN is not touched.
	again := openQuick(t, h.uri())
	wantKind(t, signOnce(again, t), backends.ErrPINIncorrect)
	if got := h.calls(callLogin); got != 1 {
		t.Fatalf("%d calls of C_Login after opening again, want 1", got)
	}
	right := filepath.Join(t.TempDir(), "right")
	write(t, right, faultPIN, 0o400)
	other := openQuick(t, strings.Replace(h.uri(), h.pinFile, right, 1))
	mustSign(t, other)

	h.setPIN(t, faultPIN)
	mustSign(t, b)
	mustSign(t, again)
	if got := h.get(wordTriesLeft); got != allTries {
		t.Errorf("%d tries left after a login, want all", got)
	}
}

func TestNoLoginAtTheFinalTryOrWhenLocked(t *testing.T) {
	for name, left := range map[string]uint32{"final try": 1, "locked": 0} {
		t.Run(name, func(t *testing.T) {
			h := newFaultHSM(t)
			h.set(wordTriesLeft, left)
			b := openQuick(t, h.uri())
			for range 10 {
				wantKind(t, signOnce(b, t), backends.ErrPINLocked)
			}
			if got := h.calls(callLogin); got != 0 {
				t.Errorf("%d calls of C_Login, want none", got)
			}
			h.set(wordTriesLeft, allTries)
			mustSign(t, b)
		})
	}
}

func TestLockedWithoutFlagsIsTriedOnce(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordNoFlags, 1)
	h.set(wordTriesLeft, 0)
	b := openQuick(t, h.uri())
	for range 10 {
		wantKind(t, signOnce(b, t), backends.ErrPINLocked)
	}
	if got := h.calls(callLogin); got != 1 {
		t.Errorf("%d calls of C_Login, want 1", got)
	}
}

// TestRefusedPINOutlivesTheProcess opens the same token through another copy of
// the module, which knows nothing of the first, as after a restart.
func TestRefusedPINOutlivesTheProcess(t *testing.T) {
	state := t.TempDir()
	first, second := newFaultHSM(t), newFaultHSM(t)
	first.setPIN(t, wrongPIN)
	second.setPIN(t, wrongPIN)
	wantKind(t, signOnce(openQuick(t, first.uri("pin-state="+state)), t), backends.ErrPINIncorrect)

	b := openQuick(t, second.uri("pin-state="+state))
	wantKind(t, signOnce(b, t), backends.ErrPINIncorrect)
	if got := second.calls(callLogin); got != 0 {
		t.Fatalf("%d calls of C_Login after the restart, want none", got)
	}
	file := filepath.Join(state, "refused-pins")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if strings.Contains(string(text), wrongPIN) {
		t.Error("the file holds the PIN")
	}
	second.setPIN(t, faultPIN)
	mustSign(t, b)

	write(t, file, string(text)+"torn li", 0o600)
	_, err = open(t.Context(), first.uri("pin-state="+state), b.log, quick())
	wantKind(t, err, backends.ErrAccessDenied)
}

func TestLoginWithoutAnAnswerIsRepeatedOnlyIfItDidNotCount(t *testing.T) {
	for name, c := range map[string]struct {
		pin  string
		want uint32 // tries left
	}{"right": {faultPIN, allTries}, "wrong": {wrongPIN, allTries - 1}} {
		t.Run(name, func(t *testing.T) {
			h := newFaultHSM(t)
			h.setPIN(t, c.pin)
			h.set(wordLostAnswers, 1)
			b := openQuick(t, h.uri())
			for range 10 {
				err := signOnce(b, t)
				if c.pin == faultPIN && err != nil {
					t.Fatalf("Sign with the right PIN: %v", err)
				}
				if c.pin == wrongPIN {
					wantKind(t, err, backends.ErrPINIncorrect)
				}
			}
			if got := h.get(wordTriesLeft); got != c.want {
				t.Errorf("%d tries left, want %d", got, c.want)
			}
			h.setPIN(t, faultPIN)
			mustSign(t, b)
		})
	}
}

func TestReinitialisationKeepsThePINRules(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	h.setPIN(t, wrongPIN)
	h.set(wordDead, 1)
	for range 5 {
		wantKind(t, signOnce(b, t), backends.ErrPINIncorrect)
	}
	if got := h.calls(callLogin); got != 2 {
		t.Errorf("%d calls of C_Login, want 2: one with each PIN", got)
	}
}

func TestAlwaysAuthenticateLogsInForEachSignature(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordAlwaysAuth, 1)
	b := openQuick(t, h.uri("max-sessions=2"))
	for range 5 {
		mustSign(t, b)
	}
	if got := h.calls(callLogin); got != 1+5 {
		t.Errorf("%d calls of C_Login, want one and one a signature", got)
	}
	h.setPIN(t, wrongPIN)
	for range 5 {
		wantKind(t, signOnce(b, t), backends.ErrPINIncorrect)
	}
	if got := h.calls(callLogin); got != 1+5+1 {
		t.Errorf("%d calls of C_Login, want one with the wrong PIN", got)
	}
	h.setPIN(t, faultPIN)
	mustSign(t, b)
}

func TestAlreadyLoggedInIsFine(t *testing.T) {
	h := newFaultHSM(t)
	h.failNext(callLogin, p11.CKR_USER_ALREADY_LOGGED_IN, 1)
	b := openQuick(t, h.uri())
	wantKind(t, signOnce(b, t), backends.ErrKeyNotFound) // the module did not mean it
	h.bump(wordLoginEpoch)
	b.login.lost(b.login.current.Load().serial)
	mustSign(t, b)
}

func TestPINFileIsChecked(t *testing.T) {
	h := newFaultHSM(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"readable by others": {faultPIN, 0o604}, "writable by group": {faultPIN, 0o620},
		"empty": {"", 0o600}, "only a newline": {"\n", 0o600}, "too long": {strings.Repeat("1", maxPIN+1), 0o600}, "NUL": {"a\x00b", 0o600},
	} {
		write(t, filepath.Join(dir, name), file.text, file.mode)
	}
	for _, name := range []string{
		"missing", ".", "fifo", "readable by others", "writable by group", "empty", "only a newline", "too long", "NUL",
	} {
		t.Run(name, func(t *testing.T) {
			uri := strings.Replace(h.uri(), h.pinFile, escape(filepath.Join(dir, name), queryLiteral), 1)
			_, err := Open(t.Context(), uri, discard())
			wantKind(t, err, backends.ErrAccessDenied)
		})
	}
	for _, text := range []string{faultPIN, faultPIN + "\n", faultPIN + "\r\n"} {
		write(t, h.pinFile, text, 0o600)
		if p, err := readPIN(h.pinFile); err != nil || p.borrow() != faultPIN {
			t.Errorf("%q is not read as the PIN: %v", text, err)
		}
	}
	write(t, h.pinFile, faultPIN+"\n\n", 0o600)
	if p, err := readPIN(h.pinFile); err != nil || p.borrow() != faultPIN+"\n" {
		t.Errorf("more than one newline was taken off: %v", err)
	}
}

func TestPINHidesItself(t *testing.T) {
	p := pin(faultPIN)
	for _, format := range []string{"%v", "%s", "%x", "%q", "%+v", "%#v", "%d"} {
		if got := fmt.Sprintf(format, p); got != "[PIN]" {
			t.Errorf("%s shows %s", format, got)
		}
	}
	p.wipe()
	if strings.Trim(p.borrow(), "\x00") != "" {
		t.Error("the PIN is not wiped")
	}
}
