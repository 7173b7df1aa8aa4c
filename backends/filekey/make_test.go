//go:build unix

package filekey

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

func TestMakerContract(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "push"), 0o700); err != nil {
		t.Fatal(err)
	}
	backendtest.RunMaker(t, backendtest.MakerHarness{
		OpenMaker: func(t *testing.T) backendtest.Maker { return openMaker(t, dir) },
		Open:      func(t *testing.T) backends.KeyBackend { return open(t, dir) },
		ID:        func(n int) string { return []string{"", "push/"}[n%2] + fmt.Sprintf("key-%d.p8", n) },
		Malformed: []string{"/etc/k.p8", "../k.p8", "push/", "a//b", ".", "a\x00b"},
	})
	// What was not proved is gone, and nothing else is left.
	for _, pattern := range []string{".*", "push/.*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			t.Errorf("left are %v", found)
		}
	}
}

func openMaker(t *testing.T, dir string) *Maker {
	t.Helper()
	m, err := OpenMaker(t.Context(), "file:"+dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// trusting proves nothing.
func trusting() backends.Making {
	return backends.Making{Random: rand.Reader, Prove: func(context.Context, string) error { return nil }}
}

func privateKey(t *testing.T) *backends.PrivateKey {
	t.Helper()
	key, _ := backendtest.NewPrivateKey(t)
	return key
}

func TestNewFileIsItsOwnersAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openMaker(t, dir).Generate(t.Context(), "k.p8", trusting()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "k.p8"))
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "k.p8"))
	if err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN PRIVATE KEY-----\n")) || !bytes.HasSuffix(text, []byte("-----END PRIVATE KEY-----\n")) {
		t.Errorf("not a PKCS#8 file: %d bytes, %v", len(text), err)
	}
	out, err := exec.Command("openssl", "pkey", "-in", filepath.Join(dir, "k.p8"), "-noout", "-check").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("Key is valid")) {
		t.Errorf("openssl: %s, %v", out, err)
	}
}

func TestDirectoriesThatOthersCanWriteAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"group", "all", "sticky", "mine", "mine/all"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for sub, mode := range map[string]os.FileMode{
		"group": 0o770, "all": 0o777, "sticky": 0o777 | os.ModeSticky, "mine/all": 0o707,
	} {
		if err := os.Chmod(filepath.Join(dir, sub), mode); err != nil {
			t.Fatal(err)
		}
	}
	m := openMaker(t, dir)
	for _, id := range []string{"group/k", "all/k", "sticky/k", "mine/all/k"} {
		_, err := m.Generate(t.Context(), id, trusting())
		if !errors.Is(err, backends.ErrAccessDenied) || !strings.Contains(err.Error(), "run chmod 700 "+dir) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := m.Generate(t.Context(), "mine/k", trusting()); err != nil {
		t.Error(err)
	}
	_, err := m.Generate(t.Context(), "missing/k", trusting())
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "make the directory first") {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	if err := os.Chown(filepath.Join(dir, "mine"), 4711, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Generate(t.Context(), "mine/k2", trusting()); !errors.Is(err, backends.ErrAccessDenied) || !strings.Contains(err.Error(), "uid 4711") {
		t.Error(err)
	}
}

// Whatever has the name, it stays what it is.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "precious")
	for name, target := range map[string]string{"link": "file", "dangling": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := openMaker(t, dir)
	for _, id := range []string{"file", "link", "dangling", "directory"} {
		if _, err := m.Generate(t.Context(), id, trusting()); !errors.Is(err, backends.ErrKeyExists) {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := m.Import(t.Context(), id, privateKey(t), trusting()); !errors.Is(err, backends.ErrKeyExists) {
			t.Errorf("%s: %v", id, err)
		}
	}
	// One that comes while the new key is being proved.
	how := trusting()
	how.Prove = func(context.Context, string) error {
		return os.WriteFile(filepath.Join(dir, "late"), []byte("precious"), 0o600)
	}
	if _, err := m.Generate(t.Context(), "late", how); !errors.Is(err, backends.ErrKeyExists) {
		t.Error(err)
	}
	for _, name := range []string{"file", "late"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "precious" {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(dir, ".*")); len(found) > 0 {
		t.Errorf("left are %v", found)
	}
}

func TestReadPrivateKeyIsAsStrictAsServing(t *testing.T) {
	dir := t.TempDir()
	key := newKeyOn(t, elliptic.P256())
	write(t, dir, "k.p8", strings.ReplaceAll(pkcs8(t, key), "\n", "\r\n"))
	got, err := ReadPrivateKey(t.Context(), filepath.Join(dir, "k.p8"))
	if err != nil || !got.Public().Equal(&key.PublicKey) || !bytes.Equal(got.Scalar(), scalarOf(key)) {
		t.Fatalf("%v, %v", got, err)
	}
	got.Wipe()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		kind error
	}{
		"open.p8": {pkcs8(t, key), 0o644, backends.ErrAccessDenied},
		"p384.p8": {pkcs8(t, newKeyOn(t, elliptic.P384())), 0o600, backends.ErrKeyUnsuitable},
		"two.p8":  {pkcs8(t, key) + pkcs8(t, key), 0o600, backends.ErrKeyUnsuitable},
	} {
		write(t, dir, name, c.text)
		if err := os.Chmod(filepath.Join(dir, name), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPrivateKey(t.Context(), filepath.Join(dir, name)); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadPrivateKey(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, backends.ErrKeyNotFound) {
		t.Error(err)
	}
}
