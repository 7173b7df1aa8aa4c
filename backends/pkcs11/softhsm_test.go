//go:build cgo && unix

package pkcs11

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// storeDir names the environment variable with the directory of the process's
// SoftHSM store.
const storeDir = "JOTSMITH_TEST_SOFTHSM"

const (
	tokenLabel = "jotsmith test"
	userPIN    = "4711-secret-pin"
	soPIN      = "0815-secret-so-pin"
)

// softHSM is a real token: key one made on it, key two imported into it.
type softHSM struct {
	module  string
	pinFile string
	keys    [2]backendtest.Key
}

// softStore makes the store of the process once. It is a variable because
// SoftHSM has one store a process.
var softStore struct {
	once sync.Once
	hsm  *softHSM
}

func newSoftHSM(t testing.TB) *softHSM {
	t.Helper()
	softStore.once.Do(func() { softStore.hsm = makeSoftHSM(t) })
	if softStore.hsm == nil {
		t.Fatal("the SoftHSM store could not be made, see the first test")
	}
	return softStore.hsm
}

func makeSoftHSM(t testing.TB) *softHSM {
	t.Helper()
	dir := os.Getenv(storeDir)
	h := &softHSM{module: findModule(t, "softhsm2", "softhsm/libsofthsm2.so"), pinFile: filepath.Join(dir, "pin")}
	write(t, h.pinFile, userPIN+"\n", 0o600)
	write(t, filepath.Join(dir, "softhsm2.conf"), "directories.tokendir = "+dir+"/tokens\nlog.level = ERROR\n", 0o600)
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	tool(t, "softhsm2-util", "softhsm2", "--init-token", "--free", "--label", tokenLabel, "--pin", userPIN, "--so-pin", soPIN)
	for _, key := range []struct{ label, id, curve string }{
		{"one", "01", "prime256v1"},
		{"p384", "03", "secp384r1"},
		{"twin", "05", "prime256v1"},
		{"twin", "06", "prime256v1"},
	} {
		h.pkcs11Tool(t, "--keypairgen", "--key-type", "EC:"+key.curve, "--label", key.label, "--id", key.id, "--usage-sign")
	}
	h.pkcs11Tool(t, "--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "07", "--usage-sign")
	h.makeKeyThatMayNotSign(t, "derives")

	imported, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(imported)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "imported.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	tool(t, "softhsm2-util", "softhsm2", "--import", file, "--token", tokenLabel, "--pin", userPIN, "--label", "two", "--id", "02")

	one := filepath.Join(dir, "one.der")
	h.pkcs11Tool(t, "--read-object", "--type", "pubkey", "--label", "one", "--output-file", one)
	public, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	h.keys = [2]backendtest.Key{
		{ID: "object=one", Public: parsed.(*ecdsa.PublicKey)},
		{ID: "id=%02;object=two;type=private", Public: &imported.PublicKey},
	}
	return h
}

// makeKeyThatMayNotSign makes a key pair with CKA_SIGN false, which pkcs11-tool
// leaves to SoftHSM's default of true. Only before any backend is open.
func (h *softHSM) makeKeyThatMayNotSign(t testing.TB, label string) {
	t.Helper()
	ctx := p11.New(h.module)
	if err := ctx.Initialize(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ctx.Finalize() }()
	token, err := findToken(ctx, tokenFilter{label: tokenLabel})
	if err != nil {
		t.Fatal(err)
	}
	session, err := ctx.OpenSession(token.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctx.Login(session, p11.CKU_USER, userPIN); err != nil {
		t.Fatal(err)
	}
	p256 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	common := []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, label)}
	_, _, err = ctx.GenerateKeyPair(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)},
		append([]*p11.Attribute{p11.NewAttribute(p11.CKA_EC_PARAMS, p256)}, common...),
		append([]*p11.Attribute{p11.NewAttribute(p11.CKA_SIGN, false), p11.NewAttribute(p11.CKA_DERIVE, true)}, common...))
	if err != nil {
		t.Fatal(err)
	}
}

func (h *softHSM) pkcs11Tool(t testing.TB, args ...string) []byte {
	t.Helper()
	return tool(t, "pkcs11-tool", "opensc", append([]string{
		"--module", h.module, "--token-label", tokenLabel, "--login", "--pin", userPIN,
	}, args...)...)
}

// uri returns the URI of the token through a module.
func (h *softHSM) uri(module string, query ...string) string {
	return "pkcs11:token=" + escape(tokenLabel, pathLiteral) + "?module-path=" + module +
		"&pin-source=file:" + h.pinFile + strings.Join(append([]string{""}, query...), "&")
}

// findModule returns the path of an installed PKCS#11 module.
func findModule(t testing.TB, pkg, name string) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/" + name, "/usr/lib/*/" + name, "/usr/local/lib/" + name, "/opt/homebrew/lib/" + name} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	return ""
}

// tool runs a command that the test cannot do without.
func tool(t testing.TB, name, pkg string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args[0], err, out)
	}
	return out
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// quick is a pace for tests.
func quick() pace {
	p := defaultPace()
	p.backoffMin = 20 * time.Millisecond
	p.backoffMax = 200 * time.Millisecond
	p.drain = time.Second
	p.hung = 50 * time.Millisecond
	p.closing = time.Second
	return p
}

// openQuick opens a backend that the test closes.
func openQuick(t testing.TB, uri string) *backend {
	t.Helper()
	return openPaced(t, uri, quick())
}

func openPaced(t testing.TB, uri string, p pace) *backend {
	t.Helper()
	b, err := open(context.Background(), uri, discard(), p)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b.(*backend)
}

var _ backends.KeyBackend = (*backend)(nil)

// eventually polls until f succeeds.
func eventually(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// isUnavailable says whether err asks to come back later and says when.
func isUnavailable(err error) bool {
	var e *backends.Error
	return errors.As(err, &e) && errors.Is(e.Kind, backends.ErrUnavailable) && e.RetryAfter > 0
}
