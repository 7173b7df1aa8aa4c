package signer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/service/signer"
)

// thumbprint is RFC 7638 section 3 by hand.
func thumbprint(t *testing.T, public *ecdsa.PublicKey) string {
	t.Helper()
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	digest := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, x, y))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

func TestKIDIsTheThumbprintWhereNoneIsConfigured(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	cfg := config(fake)
	cfg.Keys[0].KID = ""
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	set := approved(t)
	if kid := s.KID("k"); kid != "" || !s.Has("k") {
		t.Errorf("before it was read: kid %q, configured %t", kid, s.Has("k"))
	}
	if header, err := s.Header(set); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("before it was read: header %s, %v", header, err)
	}
	if signed, err := s.Sign(t.Context(), set); !errors.Is(err, signer.ErrNotReady) {
		t.Errorf("before it was read: %v, %v", signed, err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := thumbprint(t, fake.Public("id"))
	signed, err := s.Sign(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	part, _, _ := strings.Cut(signed.Token.Reveal(), ".")
	header, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Kid string }
	if err := json.Unmarshal(header, &said); err != nil || said.Kid != want || signed.KID != want || s.KID("k") != want {
		t.Errorf("kid %q in the header, %q beside the token, %q of the key; want %q (%v)", said.Kid, signed.KID, s.KID("k"), want, err)
	}
	if explained, err := s.Header(set); err != nil || !bytes.Equal(explained, header) {
		t.Errorf("header %s, explained as %s, %v", header, explained, err)
	}
	public, _ := s.Public("k")
	version, err := s.Version("k")
	if err != nil || public.KID != want || version.KID != want {
		t.Errorf("public %q, version %q, %v", public.KID, version.KID, err)
	}
}

func TestCheckpointSaysTheKIDOfItsKey(t *testing.T) {
	fake := backendtest.NewFake(t, "id")
	cfg := config(fake)
	cfg.Keys[0].KID, cfg.Keys[0].Checkpoints = "", true
	signature, kid, err := loaded(t, cfg).SignCheckpoint(t.Context(), "k", backends.Digest{1})
	if err != nil || kid != thumbprint(t, fake.Public("id")) || !signature.Verify(fake.Public("id"), backends.Digest{1}) {
		t.Errorf("kid %q, %v", kid, err)
	}
}

// twice is a Config of two keys with one public key, each in a store of its own.
func twice(t *testing.T, firstKID, secondKID string) (cfg signer.Config, second *replica) {
	t.Helper()
	fake := backendtest.NewFake(t, "id")
	second = &replica{Fake: fake}
	cfg = config(fake)
	cfg.Stores["s2"] = signer.Store{Backend: second, MaxInFlight: 4, MaxQueue: 4}
	cfg.Keys[0].KID = firstKID
	cfg.Keys = append(cfg.Keys, signer.Key{Name: "k2", Members: []signer.Member{{Store: "s2", ID: "id"}}, KID: secondKID})
	return cfg, second
}

func TestPublicKeyOfTwoKeysEndsTheStart(t *testing.T) {
	for name, kids := range map[string][2]string{
		"by thumbprint": {"", ""}, "under two kids": {"a", "b"}, "one of each": {"", "b"},
	} {
		cfg, _ := twice(t, kids[0], kids[1])
		s, err := signer.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Load(t.Context())
		if !errors.Is(err, backends.ErrKeyMismatch) || !strings.Contains(err.Error(), "has the same public key; use that one") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, key := range []string{"key k:", `key "k2"`} { // or the other way round
			other := strings.NewReplacer("key k:", "key k2:", `"k2"`, `"k"`).Replace(key)
			if !strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), other) {
				t.Errorf("%s: does not name both: %v", name, err)
			}
		}
	}
}

func TestKIDOfTwoKeysEndsTheStart(t *testing.T) {
	fake := backendtest.NewFake(t, "id", "id2")
	cfg := config(fake)
	cfg.Keys[0].KID = ""
	cfg.Keys = append(cfg.Keys, signer.Key{Name: "k2", Members: []signer.Member{{Store: "s", ID: "id2"}}, KID: thumbprint(t, fake.Public("id"))})
	s, err := signer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); !errors.Is(err, backends.ErrKeyMismatch) || !strings.Contains(err.Error(), "a verifier could not tell them apart") {
		t.Errorf("a configured kid that is another key's thumbprint: %v", err)
	}
}

func TestKeyThatComesLateWithTheSamePublicKeyIsLatched(t *testing.T) {
	cfg, second := twice(t, "", "")
	second.failWith(backends.ErrUnavailable)
	s := loaded(t, cfg)
	second.fail(nil)
	if err := s.Load(t.Context()); !errors.Is(err, backends.ErrKeyMismatch) {
		t.Fatal(err)
	}
	if _, err := s.Version("k2"); !errors.Is(err, backends.ErrKeyMismatch) {
		t.Errorf("the late one: %v", err)
	}
	if _, err := s.Sign(t.Context(), approved(t)); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

func TestPublicKeyFitsByPinAndKid(t *testing.T) {
	public := backendtest.NewFake(t, "id").Public("id")
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(spki)
	named, by := signer.Public{KID: "k", PublicKey: public}, signer.Public{KID: thumbprint(t, public), PublicKey: public}
	for name, row := range map[string]struct {
		key    signer.Key
		public signer.Public
		want   bool
	}{
		"its kid":                {signer.Key{KID: "k"}, named, true},
		"another kid":            {signer.Key{KID: "l"}, named, false},
		"its thumbprint":         {signer.Key{}, by, true},
		"a kid for a thumbprint": {signer.Key{}, named, false},
		"a thumbprint for a kid": {signer.Key{KID: "k"}, by, false},
		"its pin":                {signer.Key{KID: "k", SPKISHA256: pin[:]}, named, true},
		"another pin":            {signer.Key{KID: "k", SPKISHA256: make([]byte, sha256.Size)}, named, false},
	} {
		if got := row.key.Fits(row.public); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
