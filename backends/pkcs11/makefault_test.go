//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// The words that tell the module what to do, in the order of
// testdata/makemodule/makemodule.c.
const (
	makeHasRSAAES = iota
	makeHasKWP
	makeNoUnwrap
	makeRefuseUnwrap
	makeFailPrivate
	makeFailDestroy
	makeOtherPublic
	makeLeaky
	makeHangGenerate
	makeUnwrapped
	makeSeen
)

// makeHSM is SoftHSM behind a module of our own.
type makeHSM struct {
	words  []uint32
	module string
	uri    string
}

func newMakeHSM(t *testing.T) *makeHSM {
	t.Helper()
	soft := newSoftHSM(t)
	dir := t.TempDir()
	module := filepath.Join(dir, "make.so")
	write(t, module, string(compileModule(t, "makemodule", `-DREAL="`+soft.module+`"`, "-ldl")), 0o700)
	control := filepath.Join(dir, "control")
	return &makeHSM{words: mapWords(t, control), module: module, uri: soft.uri(module, "init-args="+control)}
}

func (h *makeHSM) set(word int, value uint32) { atomic.StoreUint32(&h.words[word], value) }
func (h *makeHSM) get(word int) int           { return int(atomic.LoadUint32(&h.words[word])) }

// proved has a key proved by a backend of its own, as the command line does.
func (h *makeHSM) proved(settings ...string) backends.Making {
	how := trusting(settings...)
	how.Prove = func(ctx context.Context, id string) error {
		b, err := Open(ctx, h.uri, discard())
		if err != nil {
			return err
		}
		defer b.Close()
		info, err := b.Describe(ctx, id)
		if err != nil {
			return err
		}
		sig, err := b.Sign(ctx, id, backends.Digest{1})
		if err == nil && !sig.Verify(info.PublicKey, backends.Digest{1}) {
			err = &backends.Error{Op: "prove", KeyID: id, Kind: backends.ErrSignatureInvalid}
		}
		return err
	}
	return how
}

func TestEveryWayOfAnImport(t *testing.T) {
	h := newMakeHSM(t)
	m := openMaker(t, h.uri)
	for i, c := range []struct {
		name      string
		words     map[int]uint32
		setting   string
		way       string
		unwrapped int
		seen      int
	}{
		{"the best that there is", map[int]uint32{makeHasRSAAES: 1, makeHasKWP: 1}, "", "CKM_RSA_AES_KEY_WRAP", 1, 0},
		{"the next best", map[int]uint32{makeHasKWP: 1}, "", "CKM_AES_KEY_WRAP_KWP", 2, 0},
		{"what SoftHSM has", nil, "", "CKM_AES_KEY_WRAP_PAD", 2, 0},
		{"the one asked for", map[int]uint32{makeHasRSAAES: 1, makeHasKWP: 1}, "wrap=CKM_AES_KEY_WRAP_PAD", "CKM_AES_KEY_WRAP_PAD", 2, 0},
		{"none that unwraps", map[int]uint32{makeNoUnwrap: 1, makeHasRSAAES: 1}, "", "C_CreateObject", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(h.words)
			for word, value := range c.words {
				h.set(word, value)
			}
			how := h.proved()
			if c.setting != "" {
				how = h.proved(c.setting)
			}
			made, err := m.Import(t.Context(), fmt.Sprintf("object=every-way-%d", i), privateKey(t), how)
			if err != nil {
				t.Fatal(err)
			}
			if h.get(makeUnwrapped) != c.unwrapped || h.get(makeSeen) != c.seen {
				t.Errorf("unwrapped %d times, and seen %d times by the module", h.get(makeUnwrapped), h.get(makeSeen))
			}
			if len(made.Notes) != 1 || !strings.Contains(made.Notes[0], c.way) || strings.Contains(made.Notes[0], "the module saw it") != (c.seen > 0) {
				t.Errorf("notes %q", made.Notes)
			}
		})
	}
}

// Each failure leaves nothing of the key's name, or says what it leaves.
func TestFaultsOfMakingAreUndone(t *testing.T) {
	h := newMakeHSM(t)
	m := openMaker(t, h.uri)
	for i, c := range []struct {
		name    string
		words   map[int]uint32
		setting string
		kind    error
		want    string
		left    bool
	}{
		{"another public half", map[int]uint32{makeOtherPublic: 1}, "", backends.ErrKeyMismatch, "another key's public half", false},
		{"another public half that stays", map[int]uint32{makeOtherPublic: 1, makeFailDestroy: p11.CKR_ACTION_PROHIBITED}, "", backends.ErrKeyMismatch, "--delete-object", true},
		{"a private key that leaves the token", map[int]uint32{makeLeaky: 1}, "", backends.ErrKeyUnsuitable, "CKA_EXTRACTABLE true", false},
		{"the same, handed over", map[int]uint32{makeLeaky: 1}, "wrap=none", backends.ErrKeyUnsuitable, "CKA_EXTRACTABLE true", false},
		{"a way that is listed and refused", map[int]uint32{makeRefuseUnwrap: p11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT}, "", backends.ErrNotMade, "wrap=none", false},
		{"a parameter that is refused always", map[int]uint32{makeRefuseUnwrap: p11.CKR_MECHANISM_PARAM_INVALID}, "", backends.ErrNotMade, "C_UnwrapKey", false},
		{"no memory", map[int]uint32{makeFailPrivate: p11.CKR_DEVICE_MEMORY}, "wrap=none", backends.ErrUnavailable, "C_CreateObject", false},
		{"a token that may not be written", map[int]uint32{makeFailPrivate: p11.CKR_TOKEN_WRITE_PROTECTED}, "wrap=none", backends.ErrAccessDenied, "C_CreateObject", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(h.words)
			for word, value := range c.words {
				h.set(word, value)
			}
			id, key := fmt.Sprintf("object=undone-%d", i), privateKey(t)
			how := h.proved()
			if c.setting != "" {
				how = h.proved(c.setting)
			}
			_, err := m.Import(t.Context(), id, key, how)
			unfinished, left := errors.AsType[*backends.UnfinishedError](err)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || left != c.left {
				t.Fatalf("%v, want %v, with something left: %v", err, c.kind, c.left)
			}
			clear(h.words)
			if left {
				// The command that is said to help does, but for the PIN that it asks for.
				remove := strings.NewReplacer(h.module, newSoftHSM(t).module, "--login", "--login --pin "+userPIN).Replace(unfinished.Left[0].Remove)
				if out, err := exec.Command("sh", "-c", remove).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", remove, err, out)
				}
			}
			if _, err := m.Import(t.Context(), id, key, h.proved()); err != nil {
				t.Errorf("the next run: %v", err)
			}
		})
	}
	clear(h.words)
	h.set(makeLeaky, 1)
	if _, err := m.Generate(t.Context(), "object=undone", h.proved()); !errors.Is(err, backends.ErrKeyUnsuitable) {
		t.Error(err)
	}
	h.set(makeLeaky, 0)
	if _, err := m.Generate(t.Context(), "object=undone", h.proved()); err != nil {
		t.Error(err)
	}
}

// A call that does not return is left when the context ends, and what it may
// still make is said.
func TestHangWhileMaking(t *testing.T) {
	h := newMakeHSM(t)
	m := openMaker(t, h.uri)
	h.set(makeHangGenerate, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := m.Generate(ctx, "object=hangs", h.proved())
	unfinished, ok := errors.AsType[*backends.UnfinishedError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(unfinished.Left[0].What, "perhaps") || time.Since(start) > 2*afterEnd {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	h.set(makeHangGenerate, 0)
	// What it made after all was never proved, and is taken away again.
	eventually(t, 10*time.Second, func() error {
		_, err := m.Generate(t.Context(), "object=hangs", h.proved())
		return err
	})
}
