//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

func TestContractIsolated(t *testing.T) {
	k := newP11Kit(t)
	backendtest.Run(t, backendtest.Harness{
		Open:       opener(k.hsm.uri(k.client, "isolate=true")),
		Keys:       k.hsm.keys,
		Unknown:    "id=%FF",
		Malformed:  malformed(),
		WrongCurve: "id=%03",
		Outage: func(t *testing.T) func() {
			k.kill(t)
			return func() { k.start(t) }
		},
		Deviations: map[backendtest.Case]string{backendtest.Disabled: noDisabledState},
		Secrets:    []string{userPIN, soPIN},
	})
}

func openIsolatedQuick(t testing.TB, uri string) *isolated {
	t.Helper()
	p := quick()
	p.firstWait = 5 * time.Second // a process starts slowly on a busy machine
	p.closing = 5 * time.Second
	p.watch = 50 * time.Millisecond
	p.hangs = 500 * time.Millisecond
	p.searchHangs = 5 * time.Second
	b, err := open(context.Background(), uri+"&isolate=true", discard(), p)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.(*isolated)
}

// pid is the process id of the child.
func (b *isolated) pid(t testing.TB) int {
	t.Helper()
	c := b.current.Load()
	if c == nil {
		t.Fatal("there is no child process")
	}
	return c.command.Process.Pid
}

// killChild ends the child and waits for the next one.
func (b *isolated) killChild(t testing.TB) {
	t.Helper()
	old := b.pid(t)
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if c := b.current.Load(); c == nil || c.command.Process.Pid == old {
			return errors.New("no new child process")
		}
		return nil
	})
}

func TestCrashIsMendedWithinTheCall(t *testing.T) {
	h := newFaultHSM(t)
	b := openIsolatedQuick(t, h.uri())
	mustSign(t, b)
	for range 3 {
		h.set(wordCrashTimes, 1)
		h.set(wordCrashCall, callSign)
		mustSign(t, b)
	}
}

func TestCrashingModuleTakesNothingWithIt(t *testing.T) {
	h := newFaultHSM(t)
	b := openIsolatedQuick(t, h.uri())
	mustSign(t, b)
	h.set(wordCrashTimes, always)
	h.set(wordCrashCall, callSignInit)
	for range 20 {
		if err := signOnce(b, t); !isUnavailable(err) {
			t.Fatalf("Sign in a module that crashes = %v", err)
		}
	}
	h.set(wordCrashTimes, 0)
	eventually(t, 10*time.Second, func() error { return signOnce(b, t) })
}

func TestHungModuleIsKilled(t *testing.T) {
	for name, call := range map[string]uint32{"C_Sign": callSign, "C_Login": callLogin, "C_OpenSession": callOpenSession} {
		t.Run(name, func(t *testing.T) {
			h := newFaultHSM(t)
			h.set(wordHangCall, call)
			b := openIsolatedQuick(t, h.uri("max-sessions=2"))
			old := b.pid(t)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := b.Sign(ctx, "object=key", backends.Digest{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Sign in a hung module = %v", err)
			}
			eventually(t, 10*time.Second, func() error {
				if c := b.current.Load(); c != nil && c.command.Process.Pid == old {
					return errors.New("the child process still lives")
				}
				return nil
			})
			h.set(wordHangCall, 0)
			eventually(t, 10*time.Second, func() error { return signOnce(b, t) })
		})
	}
}

func TestSilentChildIsKilled(t *testing.T) {
	h := newFaultHSM(t)
	b := openIsolatedQuick(t, h.uri())
	mustSign(t, b)
	if err := syscall.Kill(b.pid(t), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	mustSign(t, b) // by the next child
}

func TestPINRulesHoldAcrossChildren(t *testing.T) {
	h := newFaultHSM(t)
	h.setPIN(t, wrongPIN)
	b, other := openIsolatedQuick(t, h.uri()), openIsolatedQuick(t, h.uri())
	var wg sync.WaitGroup
	for _, b := range []*isolated{b, other} {
		for range 16 {
			wg.Go(func() {
				if err := signOnce(b, t); !errors.Is(err, backends.ErrPINIncorrect) {
					t.Errorf("Sign with a wrong PIN = %v", err)
				}
			})
		}
	}
	wg.Wait()
	for range 3 {
		b.killChild(t)
		wantKind(t, signOnce(b, t), backends.ErrPINIncorrect)
	}
	if got := h.calls(callLogin); got != 1 {
		t.Errorf("%d calls of C_Login by five processes with one wrong PIN, want 1", got)
	}
	h.setPIN(t, faultPIN)
	mustSign(t, b)
	mustSign(t, other)
}

func TestWrongPINThatCrashesTheModuleCountsOnce(t *testing.T) {
	h := newFaultHSM(t)
	h.setPIN(t, wrongPIN)
	h.set(wordLoginCrashes, 1)
	b := openIsolatedQuick(t, h.uri())
	for range 5 {
		if err := signOnce(b, t); err == nil {
			t.Fatal("signed with a wrong PIN")
		}
	}
	h.set(wordLoginCrashes, 0)
	eventually(t, 10*time.Second, func() error {
		if err := signOnce(b, t); !errors.Is(err, backends.ErrPINIncorrect) {
			return err
		}
		return nil
	})
	if got := h.get(wordTriesLeft); got != allTries-1 {
		t.Errorf("%d tries left, want one less than all", got)
	}
	h.setPIN(t, faultPIN)
	mustSign(t, b)
}

func TestKeyStaysTheSameAcrossChildren(t *testing.T) {
	h := newFaultHSM(t)
	b := openIsolatedQuick(t, h.uri())
	mustSign(t, b) // finds the key without a Describe
	h.set(wordOtherKey, 1)
	b.killChild(t)
	wantKind(t, signOnce(b, t), backends.ErrKeyMismatch)
	h.set(wordOtherKey, 0)
	b.killChild(t)
	_, err := b.Describe(t.Context(), "object=key")
	wantKind(t, err, backends.ErrKeyMismatch)
}

func TestChildEndsWithItsPipe(t *testing.T) {
	c, err := startChild(t.Context(), deaf{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.end(10 * time.Second); err != nil {
		t.Errorf("the child ended with %v, want by itself", err)
	}
}

// deaf is a listener that does not.
type deaf struct{}

func (deaf) heard(context.Context, *child, *message) {}
func (deaf) wrote(string)                            {}
func (deaf) ended(*child)                            {}

func TestNoPINInArgumentsOrEnvironment(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("only Linux has /proc")
		return
	}
	h := newFaultHSM(t)
	b := openIsolatedQuick(t, h.uri())
	mustSign(t, b)
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(b.pid(t)), name))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 || strings.Contains(string(text), faultPIN) {
			t.Errorf("%s is empty or holds the PIN", name)
		}
	}
}

func TestOpenIsolatedRefusesWhatOnlyTheOperatorCanMend(t *testing.T) {
	h := newFaultHSM(t)
	notAModule := filepath.Join(t.TempDir(), "text.so")
	write(t, notAModule, "no library", 0o600)
	for _, uri := range []string{
		strings.Replace(h.uri("isolate=true"), h.module, notAModule, 1),
		strings.Replace(h.uri("isolate=true"), h.module, "/absent.so", 1),
		strings.Replace(h.uri("isolate=true"), h.pinFile, "/absent", 1),
	} {
		_, err := Open(t.Context(), uri, discard())
		var e *backends.Error
		if !errors.As(err, &e) || e.Op != "open" {
			t.Errorf("Open(%s) = %v", uri, err)
		}
	}
}

func TestNothingLeaksFromChildren(t *testing.T) {
	h := newFaultHSM(t)
	once := func() {
		b := openIsolatedQuick(t, h.uri())
		mustSign(t, b)
		c := b.current.Load()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if state := c.command.ProcessState; state == nil || !state.Exited() {
			t.Errorf("the child ended as %v, want by itself", state)
		}
	}
	once()
	goroutines, fds := runtime.NumGoroutine(), countFDs(t)
	for range 5 {
		once()
	}
	eventually(t, 2*time.Second, func() error {
		if runtime.NumGoroutine() > goroutines || countFDs(t) > fds {
			return errors.New("goroutines or file descriptors are left")
		}
		return nil
	})
	if opened, closed := h.calls(callOpenSession), h.calls(callCloseSession); opened != closed {
		t.Errorf("%d sessions opened, %d closed", opened, closed)
	}
}
