package awskms

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/jotsmith/jotsmith/backends/backendtest"
)

func wrappingKey(t *testing.T, bits int) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, spki
}

// What is wrapped here, openssl unwraps by the commands of AWS's documentation,
// run backwards.
func TestOpensslUnwraps(t *testing.T) {
	dir := t.TempDir()
	rsaKey, spki := wrappingKey(t, wrappingKeyBits)
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaFile := filepath.Join(dir, "rsa.pem")
	if err := os.WriteFile(rsaFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := func(in []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = bytes.NewReader(in)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %s: %v\n%s", args[0], err, &stderr)
		}
		return out
	}
	decrypt := []string{
		"pkeyutl", "-decrypt", "-inkey", rsaFile,
		"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256",
	}
	var wrappings [][]byte
	for range 5 {
		private, key := backendtest.NewPrivateKey(t)
		want, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		direct, err := wrap(rand.Reader, types.AlgorithmSpecRsaesOaepSha256, spki, private)
		if err != nil {
			t.Fatal(err)
		}
		if got := openssl(direct, decrypt...); !bytes.Equal(got, want) {
			t.Errorf("RSAES_OAEP_SHA_256 gives %d bytes that are not the key", len(got))
		}
		wrapped, err := wrap(rand.Reader, types.AlgorithmSpecRsaAesKeyWrapSha256, spki, private)
		if err != nil {
			t.Fatal(err)
		}
		ephemeral := openssl(wrapped[:rsaKey.Size()], decrypt...)
		got := openssl(wrapped[rsaKey.Size():], "enc", "-d", "-id-aes256-wrap-pad", "-K", hex.EncodeToString(ephemeral), "-iv", "A65959A6")
		if !bytes.Equal(got, want) {
			t.Errorf("RSA_AES_KEY_WRAP_SHA_256 gives %d bytes that are not the key", len(got))
		}
		for _, other := range wrappings {
			if bytes.Equal(ephemeral, other) {
				t.Error("the AES key is the same again")
			}
		}
		wrappings = append(wrappings, ephemeral)
		if _, err := wrap(broken{}, types.AlgorithmSpecRsaAesKeyWrapSha256, spki, private); err == nil {
			t.Error("wrapped without randomness")
		}
	}
}

func TestWrappingKeyMustBeTheOneAskedFor(t *testing.T) {
	private, key := backendtest.NewPrivateKey(t)
	_, short := wrappingKey(t, 2048)
	ec, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, spki := range map[string][]byte{"2048 bits": short, "an EC key": ec, "nothing": nil, "junk": []byte("junk")} {
		for _, algorithm := range []types.AlgorithmSpec{types.AlgorithmSpecRsaAesKeyWrapSha256, types.AlgorithmSpecRsaesOaepSha256} {
			if out, err := wrap(rand.Reader, algorithm, spki, private); err == nil || len(out) > 0 || !strings.Contains(err.Error(), "wrapping key") {
				t.Errorf("%s: %d bytes, %v", name, len(out), err)
			}
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no randomness") }
