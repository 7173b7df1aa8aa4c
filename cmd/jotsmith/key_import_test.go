package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
)

// importWorld is a KMS that fails on demand, and a key of Apple's in a file.
type importWorld struct {
	kms     *kmsfake.Server
	file    string
	key     *ecdsa.PrivateKey
	secrets []string
}

func newImportWorld(t *testing.T) *importWorld {
	t.Helper()
	kms, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kms.Close() })
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key-of-the-test")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	w := &importWorld{kms: kms, file: filepath.Join(t.TempDir(), "AuthKey_2X9R4HXF34.p8")}
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(w.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := w.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	w.secrets = []string{hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), lines[1][40:], lines[2][:20], "secret-access-key-of-the-test"}
	return w
}

// run imports the key and returns the exit code and what was written, in which
// no secret may be.
func (w *importWorld) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	uri := strings.Replace(w.kms.URI(), "awskms:", "awskms:alias/asc", 1)
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"key", "import", w.file, "--to", uri}, args...), nil, &out, &errs)
	for _, secret := range w.secrets {
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Error("a secret was written")
		}
	}
	return code, out.String(), errs.String()
}

func TestDryRunAsksNobody(t *testing.T) {
	w := newImportWorld(t)
	code, stdout, stderr := w.run(t, "--dry-run")
	if code != exitOK || !strings.Contains(stdout, "kms:ImportKeyMaterial") || stderr != "" {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if n := w.kms.Connections(); n > 0 {
		t.Errorf("%d connections to KMS", n)
	}
}

// What a failed import left is said on lines that can be copied, and the same
// command goes on with it.
func TestFailedImportSaysWhatIsLeft(t *testing.T) {
	w := newImportWorld(t)
	w.kms.Inject(kmsfake.Fault{Operation: kmsfake.CreateAlias, Times: 1, Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "not authorized"})
	code, stdout, stderr := w.run(t)
	if code != exitOperator || stdout != "" || len(w.kms.Keys()) != 1 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	keyARN := w.kms.Keys()[0]
	for _, want := range []string{
		"\njotsmith: import alias/asc: access to the key is denied: AccessDeniedException: not authorized",
		"\nleft is the KMS key " + keyARN + ", without an alias\n",
		"\n  go on with it:  the same command with --set resume=" + keyARN + "\n",
		"\n  remove it:      aws kms schedule-key-deletion --region eu-west-1 --pending-window-in-days 7 --key-id " + keyARN + "\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	code, _, stderr = w.run(t)
	if code != exitOperator || !strings.Contains(stderr, "an earlier run was not finished") || !strings.Contains(stderr, "go on with it:  the same command with --set resume="+keyARN) {
		t.Fatalf("the next run ends with %d\n%s", code, stderr)
	}
	code, stdout, stderr = w.run(t, "--set", "resume="+keyARN)
	if code != exitOK || !strings.Contains(stdout, "canonical id  "+keyARN) || !strings.Contains(stdout, `id: "alias/asc", kid: "2X9R4HXF34"`) {
		t.Fatalf("going on ends with %d\n%s\n%s", code, stdout, stderr)
	}
}

// The proof is the command's own, too: a store whose signatures are another
// key's is found out by the file's public half.
func TestImportIntoAStoreThatLies(t *testing.T) {
	for name, fault := range map[string]kmsfake.Fault{
		"a signature of something else": {Operation: kmsfake.Sign, WrongDigest: true},
		"another key's public half": {Operation: kmsfake.GetPublicKey, Bytes: func([]byte) []byte {
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			spki, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			return spki
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newImportWorld(t)
			// The first look at the alias, which is not there, is without fault.
			w.kms.Inject(fault)
			code, stdout, stderr := w.run(t)
			if code != exitOperator || stdout != "" || !strings.Contains(stderr, "remove it:") || strings.Contains(stderr, "go on with it:") {
				t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
			if w.kms.Calls(kmsfake.CreateAlias) > 0 {
				t.Error("the key got its alias all the same")
			}
		})
	}
}

func TestImportIntoAStoreThatThrottles(t *testing.T) {
	w := newImportWorld(t)
	w.kms.Inject(kmsfake.Fault{Operation: kmsfake.CreateKey, Status: http.StatusBadRequest, Code: "ThrottlingException"})
	if code, stdout, stderr := w.run(t); code != exitTryAgain || stdout != "" || strings.Contains(stderr, "left is") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}
