//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestUnsuitableKeys(t *testing.T) {
	h := newSoftHSM(t)
	b := openQuick(t, h.uri(h.module))
	for id, want := range map[string]string{
		"object=p384":    "its curve is not P-256",
		"object=rsa":     "CKA_KEY_TYPE is 0x0, not CKK_EC",
		"object=derives": "CKA_SIGN is false",
		"object=twin":    "name both id=%XX and object=NAME",
	} {
		_, err := b.Describe(t.Context(), id)
		wantKind(t, err, backends.ErrKeyUnsuitable)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", id, err, want)
		}
		_, err = b.Sign(t.Context(), id, backends.Digest{})
		wantKind(t, err, backends.ErrKeyUnsuitable)
	}
	if _, err := b.Describe(t.Context(), "object=twin;id=%06"); err != nil {
		t.Errorf("one of two keys of a name: %v", err)
	}
}

func TestOneKeyOneCanonicalID(t *testing.T) {
	h := newSoftHSM(t)
	b := openQuick(t, h.uri(h.module))
	var first string
	for _, id := range []string{"object=one", "id=%01", "id=%01;object=one", "type=private;object=one"} {
		info, err := b.Describe(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = info.CanonicalID
		}
		if info.CanonicalID != first || info.InProcess {
			t.Errorf("%s is %+v, want %s", id, info, first)
		}
	}
	if !strings.HasPrefix(first, "pkcs11:token=jotsmith%20test;serial=") || !strings.HasSuffix(first, ";id=%01;object=one") {
		t.Errorf("canonical id %s", first)
	}
	backend, key, err := SplitKeyURI(first + strings.TrimPrefix(h.uri(h.module), "pkcs11:token=jotsmith%20test"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := openQuick(t, backend).Describe(t.Context(), key); err != nil || info.CanonicalID != first {
		t.Errorf("the canonical id as a URI leads to %v, %v", info, err)
	}
}

func TestPublicHalfWhereverTheModuleKeepsIt(t *testing.T) {
	for name, words := range map[string][]int{
		"own object": {}, "own object, bare": {wordRawPoint}, "private key": {wordPointAt}, "private key, bare": {wordPointAt, wordRawPoint},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFaultHSM(t)
			for _, word := range words {
				h.set(word, 1)
			}
			info, err := openQuick(t, h.uri()).Describe(t.Context(), "object=key")
			if err != nil {
				t.Fatal(err)
			}
			// The base point of P-256.
			if point, err := info.PublicKey.Bytes(); !strings.HasPrefix(hex.EncodeToString(point), "046b17d1f2e12c4247f8bc") {
				t.Errorf("public key is %x, %v", point, err)
			}
		})
	}
	h := newFaultHSM(t)
	h.set(wordPointAt, 2)
	_, err := openQuick(t, h.uri()).Describe(t.Context(), "object=key")
	wantKind(t, err, backends.ErrKeyUnsuitable)
}

func TestPublicHalfFromCertificate(t *testing.T) {
	h := newSoftHSM(t)
	h.pkcs11Tool(t, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "certified", "--id", "0c", "--usage-sign")
	dir := t.TempDir()
	public := filepath.Join(dir, "public.der")
	h.pkcs11Tool(t, "--read-object", "--type", "pubkey", "--id", "0c", "--output-file", public)
	der, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	// A CA of openssl's certifies the token's public key.
	pemFile, ca, cert := filepath.Join(dir, "public.pem"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.der")
	write(t, pemFile, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), 0o600)
	tool(t, "openssl", "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", ca)
	tool(t, "openssl", "openssl", "x509", "-new", "-subj", "/CN=certified", "-force_pubkey", pemFile, "-signkey", ca, "-outform", "DER", "-out", cert)
	h.pkcs11Tool(t, "--write-object", cert, "--type", "cert", "--label", "certified", "--id", "0c")
	h.pkcs11Tool(t, "--delete-object", "--type", "pubkey", "--id", "0c")

	info, err := openQuick(t, h.uri(h.module)).Describe(t.Context(), "object=certified")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := x509.MarshalPKIXPublicKey(info.PublicKey); !bytes.Equal(got, der) {
		t.Error("not the certificate's public key", err)
	}
}

func TestOpenSSLVerifiesASignature(t *testing.T) {
	h := newSoftHSM(t)
	b := openQuick(t, h.uri(h.module))
	dir := t.TempDir()
	message, public, signature := filepath.Join(dir, "message"), filepath.Join(dir, "public.pem"), filepath.Join(dir, "signature")
	for i, key := range h.keys {
		text := strings.Repeat("signed by a token ", i+1)
		sig, err := b.Sign(t.Context(), key.ID, sha256.Sum256([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		info, err := b.Describe(t.Context(), key.ID)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(info.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		write(t, message, text, 0o600)
		write(t, public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), 0o600)
		write(t, signature, string(sig.DER()), 0o600)
		out := tool(t, "openssl", "openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, message)
		if !strings.Contains(string(out), "Verified OK") {
			t.Errorf("openssl says %s", out)
		}
	}
}

func TestOpenRefusesWhatOnlyTheOperatorCanMend(t *testing.T) {
	h := newFaultHSM(t)
	dir := t.TempDir()
	notAModule := filepath.Join(dir, "text.so")
	write(t, notAModule, "no library", 0o600)
	for name, uri := range map[string]string{
		"a bad URI":              "pkcs11:token=fault",
		"no module":              strings.Replace(h.uri(), h.module, dir+"/absent.so", 1),
		"a directory as module":  strings.Replace(h.uri(), h.module, dir, 1),
		"a module that is none":  strings.Replace(h.uri(), h.module, notAModule, 1),
		"no pin-state directory": h.uri("pin-state=" + dir + "/absent"),
	} {
		b, err := Open(t.Context(), uri, discard())
		if err == nil {
			t.Errorf("Open succeeded with %s", name)
			_ = b.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "open: ") {
			t.Errorf("with %s: %v", name, err)
		}
	}
	openQuick(t, h.uri())
	if _, err := Open(t.Context(), h.uri("serialize=true"), discard()); err == nil || !strings.Contains(err.Error(), "isolate=true") {
		t.Errorf("Open with another serialize = %v", err)
	}
}
