package filekey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// newKeyOn makes a key in this process.
func newKeyOn(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pkcs8 is any private key as Apple's .p8 files hold it.
func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("PRIVATE KEY", der)
}

func sec1(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("EC PRIVATE KEY", der)
}

func pemText(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// write puts a file of mode 0600 into dir.
func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), "file:"+dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestContract(t *testing.T) {
	dir := t.TempDir()
	first, second := newKeyOn(t, elliptic.P256()), newKeyOn(t, elliptic.P256())
	write(t, dir, "AuthKey_2X9R4HXF34.p8", pkcs8(t, first))
	if err := os.Mkdir(filepath.Join(dir, "push"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "push/key.pem", sec1(t, second))
	p384 := pkcs8(t, newKeyOn(t, elliptic.P384()))
	write(t, dir, "p384.p8", p384)

	backendtest.Run(t, backendtest.Harness{
		Open: func(t *testing.T) backends.KeyBackend {
			b, err := Open(t.Context(), "file:"+dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		Keys: [2]backendtest.Key{
			{ID: "AuthKey_2X9R4HXF34.p8", Public: &first.PublicKey},
			{ID: "push/key.pem", Public: &second.PublicKey},
		},
		Unknown:    "AuthKey_AAAAAAAAAA.p8",
		Malformed:  []string{".", "..", "../key.p8", "/etc/key.p8", "push/../AuthKey_2X9R4HXF34.p8", "push/", "a\x00b", "\xff"},
		WrongCurve: "p384.p8",
		Deviations: map[backendtest.Case]string{
			backendtest.Disabled: "a file has no disabled state; signer disables a key by its name",
			backendtest.Outage:   "the key is in memory once described, so that a lost file or disk does not stop signing",
		},
		Secrets: append(lines(pkcs8(t, first)), append(lines(sec1(t, second)), lines(p384)...)...),
	})
}

// lines are the base64 lines of a PEM file.
func lines(text string) []string {
	block, _ := pem.Decode([]byte(text))
	body := base64.StdEncoding.EncodeToString(block.Bytes)
	var parts []string
	for ; len(body) > 16; body = body[16:] {
		parts = append(parts, body[:16])
	}
	return parts
}

func TestSignIsDeterministicAsInRFC6979(t *testing.T) {
	// RFC 6979 appendix A.2.5: ECDSA, 256 bits (prime field), with SHA-256.
	key := scalarKey(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	for message, want := range map[string]string{
		"sample": "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716" +
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		"test": "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367" +
			"019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
	} {
		dir := t.TempDir()
		write(t, dir, "key.p8", pkcs8(t, key))
		sig, err := open(t, dir).Sign(t.Context(), "key.p8", sha256.Sum256([]byte(message)))
		if err != nil {
			t.Fatal(err)
		}
		got := hex.EncodeToString(sig[:])
		if same := got == hex.EncodeToString(unhex(t, want)); same == drawn { // with BoringCrypto it is another each time
			t.Errorf("signature of %q is %s, that of the RFC %s; nonces are drawn: %v", message, got, want, drawn)
		}
	}
}

func TestSignWithTheKeyOfRFC7515(t *testing.T) {
	// RFC 7515 appendix A.3: key, signing input and its printed signature.
	d := unbase64(t, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
	x := unbase64(t, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
	y := unbase64(t, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
	digest := backends.Digest(sha256.Sum256([]byte("eyJhbGciOiJFUzI1NiJ9" + "." +
		"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ")))
	printed := backends.Signature(unbase64(t, "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"))

	dir := t.TempDir()
	write(t, dir, "key.p8", pkcs8(t, scalarKey(t, hex.EncodeToString(d))))
	b := open(t, dir)
	info, err := b.Describe(t.Context(), "key.p8")
	if err != nil {
		t.Fatal(err)
	}
	point, err := info.PublicKey.Bytes()
	if err != nil || string(point[1:]) != string(x)+string(y) {
		t.Errorf("public key is %x, %v; want %x %x", point, err, x, y)
	}
	if !printed.Verify(info.PublicKey, digest) {
		t.Error("the printed signature does not verify with the described key")
	}
	sig, err := b.Sign(t.Context(), "key.p8", digest)
	if err != nil || !sig.Verify(info.PublicKey, digest) {
		t.Errorf("our signature %x, %v does not verify", sig, err)
	}
}

func TestDescribeTakesTheNewKeyAndSignFollows(t *testing.T) {
	dir := t.TempDir()
	first, second := newKeyOn(t, elliptic.P256()), newKeyOn(t, elliptic.P256())
	b := open(t, dir)
	signer := func() *ecdsa.PublicKey {
		sig, err := b.Sign(t.Context(), "key.p8", backends.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []*ecdsa.PrivateKey{first, second} {
			if sig.Verify(&key.PublicKey, backends.Digest{1}) {
				return &key.PublicKey
			}
		}
		t.Fatal("signed with neither key")
		return nil
	}

	write(t, dir, "key.p8", pkcs8(t, first))
	if !signer().Equal(&first.PublicKey) {
		t.Error("Sign without Describe does not use the file's key")
	}
	write(t, dir, "key.p8", pkcs8(t, second))
	if !signer().Equal(&first.PublicKey) {
		t.Error("a new file is used before it was described")
	}
	info, err := b.Describe(t.Context(), "key.p8")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "key.p8"); info.CanonicalID != want || !info.InProcess {
		t.Errorf("Describe says %q, in process %v; want %q, true", info.CanonicalID, info.InProcess, want)
	}
	if !signer().Equal(&second.PublicKey) {
		t.Error("the described key is not used")
	}
	write(t, dir, "key.p8", "")
	if _, err := b.Describe(t.Context(), "key.p8"); err == nil {
		t.Error("an empty file was described")
	}
	if !signer().Equal(&second.PublicKey) {
		t.Error("a failed Describe took the key away")
	}
}

func scalarKey(t testing.TB, hexScalar string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), unhex(t, hexScalar))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		t.Fatalf("%q is not hexadecimal", s)
	}
	return n.FillBytes(make([]byte, len(s)/2))
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
