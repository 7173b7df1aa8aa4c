//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

func TestMakerContract(t *testing.T) {
	h := newSoftHSM(t)
	backendtest.RunMaker(t, backendtest.MakerHarness{
		OpenMaker: func(t *testing.T) backendtest.Maker { return openMaker(t, h.uri(h.module)) },
		Open:      opener(h.uri(h.module)),
		ID: func(n int) string {
			return []string{
				fmt.Sprintf("object=made%%20%d", n), fmt.Sprintf("id=%%AA%%%02X;object=made-%d", n, n), fmt.Sprintf("id=%%AB%%%02X", n),
			}[n%3]
		},
		Malformed: malformed(),
		Secrets:   []string{userPIN, soPIN},
	})
}

// The server's backend has the module in a child process, and sees what was made
// in this one.
func TestMadeHereAndProvedInAChildProcess(t *testing.T) {
	h := newSoftHSM(t)
	uri := h.uri(h.module, "isolate=true")
	how := trusting()
	how.Prove = func(ctx context.Context, id string) error {
		b, err := Open(ctx, uri, discard())
		if err != nil {
			return err
		}
		defer b.Close()
		_, err = b.Sign(ctx, id, backends.Digest{1})
		return err
	}
	if _, err := openMaker(t, uri).Import(t.Context(), "object=isolated", privateKey(t), how); err != nil {
		t.Error(err)
	}
}

func openMaker(t *testing.T, uri string) *Maker {
	t.Helper()
	m, err := OpenMaker(t.Context(), uri, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// trusting proves nothing.
func trusting(settings ...string) backends.Making {
	how := backends.Making{Random: rand.Reader, Prove: func(context.Context, string) error { return nil }, Settings: map[string]string{}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		how.Settings[name] = value
	}
	return how
}

func privateKey(t *testing.T) *backends.PrivateKey {
	t.Helper()
	key, _ := backendtest.NewPrivateKey(t)
	return key
}

// inspect reads attributes of the one object of a class and a label.
func inspect(t *testing.T, m *Maker, class uint, id string, attributes ...uint) map[uint][]byte {
	t.Helper()
	want, err := parseKeyID(id)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint][]byte{}
	err = m.do(t.Context(), &job{Maker: m}, func(_ context.Context, s *session) error {
		handles, err := findObjects(s, class, want)
		if err != nil || len(handles) != 1 {
			return fmt.Errorf("%d objects: %w", len(handles), err)
		}
		for _, a := range attributes {
			if found[a], err = (object{s, handles[0]}).attribute(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestKeysOnTheTokenSignAndDoNothingElse(t *testing.T) {
	h := newSoftHSM(t)
	m := openMaker(t, h.uri(h.module))
	if _, err := m.Generate(t.Context(), "id=%0A%0B;object=shape-made", trusting()); err != nil {
		t.Fatal(err)
	}
	for way, id := range map[string]string{wayNone: "object=shape-handed", "CKM_AES_KEY_WRAP_PAD": "object=shape-unwrapped"} {
		if _, err := m.Import(t.Context(), id, privateKey(t), trusting("wrap="+way)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"object=shape-made", "object=shape-handed", "object=shape-unwrapped"} {
		generated := strings.HasSuffix(id, "made")
		private := map[uint]bool{
			p11.CKA_TOKEN: true, p11.CKA_PRIVATE: true, p11.CKA_SENSITIVE: true, p11.CKA_EXTRACTABLE: false, p11.CKA_SIGN: true,
			p11.CKA_DECRYPT: false, p11.CKA_UNWRAP: false, p11.CKA_DERIVE: false,
			p11.CKA_LOCAL: generated, p11.CKA_NEVER_EXTRACTABLE: generated, p11.CKA_ALWAYS_SENSITIVE: generated,
		}
		public := map[uint]bool{
			p11.CKA_TOKEN: true, p11.CKA_PRIVATE: false, p11.CKA_VERIFY: true, p11.CKA_ENCRYPT: false, p11.CKA_WRAP: false, p11.CKA_LOCAL: generated,
		}
		for class, want := range map[uint]map[uint]bool{p11.CKO_PRIVATE_KEY: private, p11.CKO_PUBLIC_KEY: public} {
			for a, value := range want {
				if got := inspect(t, m, class, id, a)[a]; len(got) != 1 || got[0] != 0 != value {
					t.Errorf("%s, class %d: attribute 0x%X is %x, want %v", id, class, a, got, value)
				}
			}
		}
		own := inspect(t, m, p11.CKO_PRIVATE_KEY, id, p11.CKA_ID, p11.CKA_VALUE)
		half := inspect(t, m, p11.CKO_PUBLIC_KEY, id, p11.CKA_ID, p11.CKA_EC_PARAMS)
		if len(own[p11.CKA_ID]) == 0 || !bytes.Equal(own[p11.CKA_ID], half[p11.CKA_ID]) || generated && string(own[p11.CKA_ID]) != "\x0a\x0b" {
			t.Errorf("%s: CKA_ID is %x and %x", id, own[p11.CKA_ID], half[p11.CKA_ID])
		}
		if string(half[p11.CKA_EC_PARAMS]) != oidP256 {
			t.Errorf("%s: CKA_EC_PARAMS is %x", id, half[p11.CKA_EC_PARAMS])
		}
		if len(own[p11.CKA_VALUE]) > 0 {
			t.Errorf("%s: the token gives its private number out", id)
		}
	}
	// The wrapping keys were the session's own.
	out := h.pkcs11Tool(t, "--list-objects")
	if bytes.Contains(out, []byte("RSA 2048 bits")) || bytes.Contains(out, []byte("AES")) {
		if bytes.Count(out, []byte("RSA")) > 2 { // the one that the store was made with
			t.Errorf("left on the token:\n%s", out)
		}
	}
}

func TestImportSaysWhichWayItTook(t *testing.T) {
	h := newSoftHSM(t)
	m := openMaker(t, h.uri(h.module))
	for setting, want := range map[string]string{
		"":                          "its module did not see it",
		"wrap=CKM_AES_KEY_WRAP_PAD": "CKM_AES_KEY_WRAP_PAD",
		"wrap=none":                 "the module saw it",
	} {
		how := trusting()
		if setting != "" {
			how = trusting(setting)
		}
		made, err := m.Import(t.Context(), "object=way-"+escape(setting, pathLiteral), privateKey(t), how)
		if err != nil || len(made.Notes) != 1 || !strings.Contains(made.Notes[0], want) {
			t.Errorf("%q: %q, %v", setting, made.Notes, err)
		}
	}
	for setting, want := range map[string]string{
		"wrap=CKM_AES_KEY_WRAP_KWP": "the token cannot unwrap by CKM_AES_KEY_WRAP_KWP",
		"wrap=CKM_RSA_AES_KEY_WRAP": "the token cannot unwrap by CKM_RSA_AES_KEY_WRAP",
		"wrap=CKM_RSA_PKCS":         "is none of CKM_RSA_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, none",
	} {
		if _, err := m.PlanImport(t.Context(), "object=way-not", trusting(setting)); !errors.Is(err, backends.ErrNotMade) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// Whatever has the id or the label, even half of it, is in the way.
func TestNamesThatAreTaken(t *testing.T) {
	h := newSoftHSM(t)
	m := openMaker(t, h.uri(h.module))
	if _, err := m.Generate(t.Context(), "id=%0C%0D;object=taken", trusting()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"object=taken", "id=%0C%0D", "id=%0C%0D;object=other", "id=%0C%0E;object=taken", "object=rsa", "object=twin"} {
		if _, err := m.Generate(t.Context(), id, trusting()); !errors.Is(err, backends.ErrKeyExists) {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := m.Import(t.Context(), id, privateKey(t), trusting()); !errors.Is(err, backends.ErrKeyExists) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A key that is there, and leaves the token, is not taken for one that was
// imported well.
func TestTheKeyIsThereAndExtractable(t *testing.T) {
	h := newSoftHSM(t)
	m := openMaker(t, h.uri(h.module))
	key := privateKey(t)
	if _, err := m.Import(t.Context(), "object=leaky", key, trusting("wrap=none")); err != nil {
		t.Fatal(err)
	}
	// A copy with another attribute is a new object under the same name.
	err := m.do(t.Context(), &job{Maker: m}, func(_ context.Context, s *session) error {
		handles, err := findObjects(s, p11.CKO_PRIVATE_KEY, keyID{label: "leaky"})
		if err != nil {
			return err
		}
		if err := s.ctx.DestroyObject(s.handle, handles[0]); err != nil {
			return err
		}
		_, err = s.ctx.CreateObject(s.handle, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_EC),
			p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, "leaky"), p11.NewAttribute(p11.CKA_SIGN, true),
			p11.NewAttribute(p11.CKA_SENSITIVE, false), p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
			p11.NewAttribute(p11.CKA_EC_PARAMS, []byte(oidP256)), p11.NewAttribute(p11.CKA_VALUE, key.Scalar()),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Import(t.Context(), "object=leaky", key, trusting())
	if !errors.Is(err, backends.ErrKeyUnsuitable) || !strings.Contains(err.Error(), "CKA_SENSITIVE false") {
		t.Error(err)
	}
}

// A run that is killed leaves nothing, or the public half, or the whole key: the
// next run goes on with each.
func TestKilledAtEachStep(t *testing.T) {
	const uriVariable, scalarVariable, idVariable = "JOTSMITH_TEST_URI", "JOTSMITH_TEST_SCALAR", "JOTSMITH_TEST_ID"
	if report := backendtest.Victim(); report != nil {
		scalar, err := hex.DecodeString(os.Getenv(scalarVariable))
		if err != nil {
			t.Fatal(err)
		}
		key, err := backends.NewPrivateKey([32]byte(scalar))
		if err != nil {
			t.Fatal(err)
		}
		how := trusting()
		how.Report = report
		if _, err := openMaker(t, os.Getenv(uriVariable)).Import(t.Context(), os.Getenv(idVariable), key, how); err != nil {
			t.Fatal(err)
		}
		return
	}
	h := newSoftHSM(t)
	m, b := openMaker(t, h.uri(h.module)), openQuick(t, h.uri(h.module))
	notes := map[string]int{}
	deaths := 0
	for n := 1; ; n++ {
		key, id := privateKey(t), fmt.Sprintf("object=killed-%d", n)
		if !backendtest.KilledAt(t, n, sharedStore+"="+os.Getenv(storeDir), uriVariable+"="+h.uri(h.module),
			scalarVariable+"="+hex.EncodeToString(key.Scalar()), idVariable+"="+id) {
			break
		}
		deaths++
		made, err := m.Import(t.Context(), id, key, trusting())
		if err != nil || !made.PublicKey.Equal(key.Public()) {
			t.Errorf("killed at report %d, the next run says %v", n, err)
			continue
		}
		notes[made.Notes[0][:8]]++
		sig, err := b.Sign(t.Context(), id, backends.Digest{1})
		if err != nil || !sig.Verify(key.Public(), backends.Digest{1}) {
			t.Errorf("killed at report %d, and in the end %v", n, err)
		}
	}
	if deaths < 7 || notes["the publ"] < 2 || notes["nothing "] < 2 {
		t.Errorf("%d deaths, notes %v", deaths, notes)
	}
}
