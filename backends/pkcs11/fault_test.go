//go:build cgo && unix

package pkcs11

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/jotsmith/jotsmith/backends"
)

// The words that tell the fault module what to do, in the order of
// testdata/faultmodule/faultmodule.c.
const (
	wordDead = iota
	wordFailCall
	wordFailCode
	wordFailTimes
	wordHangCall
	wordCrashCall
	wordTriesLeft
	wordNoFlags
	wordSessionEpoch
	wordLoginEpoch
	wordHandleEpoch
	wordSignatureLen
	wordOtherKey
	wordRawPoint
	wordPointAt
	wordAlwaysAuth
	wordMaxSessions
	wordNotPresent
	wordSignMicros
	wordOverlaps
	wordNoLocks
	wordLostAnswers
	wordLoginCrashes
	wordCrashTimes
	wordCounters = 32
	wordsLen     = 64
)

// The calls that the fault module counts.
const (
	callInitialize = iota + 1
	callFinalize
	callGetSlotList
	callGetTokenInfo
	callOpenSession
	callCloseSession
	callGetSessionInfo
	callLogin
	callFindInit
	callFind
	callFindFinal
	callGetAttribute
	callSignInit
	callSign
)

const (
	faultPIN = "right-pin"
	wrongPIN = "wrong-pin"
	allTries = 10
	always   = 1 << 30 // times to fail
)

// faultHSM is a module of our own, loaded from a file of the test's own, so
// that no two tests share its state.
type faultHSM struct {
	module  string
	control string
	pinFile string
	words   []uint32
}

// faultModule is the library, compiled once a process.
var faultModule struct {
	once sync.Once
	code []byte
}

func newFaultHSM(t testing.TB) *faultHSM {
	t.Helper()
	faultModule.once.Do(func() { faultModule.code = compileModule(t, "faultmodule", "-lpthread") })
	if faultModule.code == nil {
		t.Fatal("the fault module could not be compiled, see the first test")
	}
	dir := t.TempDir()
	h := &faultHSM{module: filepath.Join(dir, "fault.so"), control: filepath.Join(dir, "control"), pinFile: filepath.Join(dir, "pin")}
	write(t, h.module, string(faultModule.code), 0o700)
	h.setPIN(t, faultPIN)
	h.words = mapWords(t, h.control)
	h.set(wordTriesLeft, allTries)
	return h
}

// mapWords makes the file of words that a module of ours is told by.
func mapWords(t testing.TB, control string) []uint32 {
	t.Helper()
	write(t, control, strings.Repeat("\x00", 4*wordsLen), 0o600)
	f, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := syscall.Mmap(int(f.Fd()), 0, 4*wordsLen, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mapped) })
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(mapped))), wordsLen)
}

// compileModule makes a library of testdata/NAME/NAME.c.
func compileModule(t testing.TB, name string, flags ...string) []byte {
	t.Helper()
	include := strings.TrimSpace(string(tool(t, "go", "golang", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11")))
	out := filepath.Join(t.TempDir(), name+".so")
	tool(t, "cc", "gcc", append([]string{
		"-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", include, "-o", out, "testdata/" + name + "/" + name + ".c",
	}, flags...)...)
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (h *faultHSM) set(word int, value uint32) { atomic.StoreUint32(&h.words[word], value) }
func (h *faultHSM) get(word int) uint32        { return atomic.LoadUint32(&h.words[word]) }
func (h *faultHSM) bump(word int)              { atomic.AddUint32(&h.words[word], 1) }

// calls is how often the module was called.
func (h *faultHSM) calls(call int) int { return int(h.get(wordCounters + call)) }

// failNext makes the next calls of a kind answer a code.
func (h *faultHSM) failNext(call int, code uint, times uint32) {
	h.set(wordFailCode, uint32(code))
	h.set(wordFailTimes, times)
	h.set(wordFailCall, uint32(call))
}

func (h *faultHSM) setPIN(t testing.TB, pin string) {
	t.Helper()
	write(t, h.pinFile, pin+"\n", 0o600)
}

func (h *faultHSM) uri(query ...string) string {
	return "pkcs11:token=fault?module-path=" + h.module + "&pin-source=" + h.pinFile + "&init-args=" + h.control +
		strings.Join(append([]string{""}, query...), "&")
}

// mustSign signs or ends the test.
func mustSign(t testing.TB, b backends.KeyBackend) {
	t.Helper()
	if _, err := b.Sign(t.Context(), "object=key", backends.Digest{1}); err != nil {
		t.Fatalf("Sign: %v", err)
	}
}

// wantKind ends the test unless err is an *Error of the Kind without a PIN.
func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	var e *backends.Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, kind) {
		t.Fatalf("error %v, want the Kind %v", err, kind)
	}
	for _, secret := range []string{faultPIN, wrongPIN, userPIN} {
		if strings.Contains(err.Error(), secret) {
			t.Error("an error holds a PIN")
		}
	}
}

func TestFaultModuleIsSound(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Fatal("cc is missing: apt-get install gcc")
	}
	b := openQuick(t, newFaultHSM(t).uri())
	info, err := b.Describe(t.Context(), "object=key")
	if err != nil {
		t.Fatal(err)
	}
	if want := "pkcs11:token=fault;serial=F1;id=%2A;object=key"; info.CanonicalID != want {
		t.Errorf("canonical id %q, want %q", info.CanonicalID, want)
	}
	mustSign(t, b)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
