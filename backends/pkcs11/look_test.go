//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// mustLook looks, and sees to it that nobody logged in or opened a session.
func mustLook(t *testing.T, h *faultHSM, uri string) TokenState {
	t.Helper()
	before := [2]int{h.calls(callLogin), h.calls(callOpenSession)}
	state, err := Look(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if after := [2]int{h.calls(callLogin), h.calls(callOpenSession)}; after != before {
		t.Errorf("looking made calls of C_Login and C_OpenSession: %v, then %v", before, after)
	}
	return state
}

func TestLookSeesThePINWithoutALogin(t *testing.T) {
	for name, tc := range map[string]struct {
		left uint32
		want func(TokenState) bool
	}{
		"well":      {allTries, func(s TokenState) bool { return !s.CountLow && !s.FinalTry && !s.Locked }},
		"count low": {allTries - 1, func(s TokenState) bool { return s.CountLow && !s.FinalTry && !s.Locked }},
		"final try": {1, func(s TokenState) bool { return s.FinalTry && !s.Locked }},
		"locked":    {0, func(s TokenState) bool { return s.Locked }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFaultHSM(t)
			h.set(wordTriesLeft, tc.left)
			state := mustLook(t, h, h.uri())
			if !tc.want(state) || state.Token != nil || state.PINFile != nil || !state.LoginRequired || !state.PINSet || state.Remembers {
				t.Errorf("%+v", state)
			}
			if h.calls(callInitialize) != 1 || h.calls(callFinalize) != 1 {
				t.Error("the module is not left as it was found")
			}
		})
	}
}

func TestLookKnowsAPINThatWasRefusedBefore(t *testing.T) {
	h := newFaultHSM(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	uri := h.uri() + "&pin-state=" + dir
	h.setPIN(t, wrongPIN)
	b := openQuick(t, uri)
	wantKind(t, signOnce(b, t), backends.ErrPINIncorrect)
	state := mustLook(t, h, uri)
	if !state.Refused || !strings.Contains(state.RefusedMend, "refused-pins") || !state.Remembers || state.Memory != nil {
		t.Errorf("%+v", state)
	}
	h.setPIN(t, faultPIN)
	if state := mustLook(t, h, uri); state.Refused {
		t.Errorf("the right PIN counts as refused: %+v", state)
	}
	write(t, filepath.Join(dir, "refused-pins"), "nonsense\n", 0o600)
	if state := mustLook(t, h, uri); !errors.Is(state.Memory, backends.ErrAccessDenied) {
		t.Errorf("a damaged memory: %+v", state)
	}
}

func TestLookSaysWhatIsInTheWay(t *testing.T) {
	h := newFaultHSM(t)
	if err := os.Chmod(h.pinFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if state := mustLook(t, h, h.uri()); state.PINFile == nil || !strings.Contains(state.PINFile.Error(), "run chmod 600") {
		t.Errorf("a PIN file that all can read: %v", state.PINFile)
	}
	h.set(wordNotPresent, 1)
	if state := mustLook(t, h, h.uri()); state.Token == nil {
		t.Error("a token that is away is found")
	}
	if state := mustLook(t, h, strings.Replace(h.uri(), h.module, "/no/such/module.so", 1)); state.Token == nil {
		t.Error("a module that is not there is loaded")
	}
	if _, err := Look(t.Context(), "pkcs11:token"); err == nil {
		t.Error("a malformed URI is looked at")
	}
}

func TestLookLeavesAModuleThatHangs(t *testing.T) {
	h := newFaultHSM(t)
	h.set(wordHangCall, callGetTokenInfo)
	t.Cleanup(func() { h.set(wordHangCall, 0) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Look(ctx, h.uri()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Look at a module that hangs = %v", err)
	}
}

func TestLookBesideABackendThatSigns(t *testing.T) {
	h := newFaultHSM(t)
	b := openQuick(t, h.uri())
	mustSign(t, b)
	if state := mustLook(t, h, h.uri()); state.Token != nil {
		t.Errorf("%+v", state)
	}
	mustSign(t, b)
	if h.calls(callInitialize) != 1 || h.calls(callLogin) != 1 {
		t.Error("looking disturbed the backend")
	}
}
