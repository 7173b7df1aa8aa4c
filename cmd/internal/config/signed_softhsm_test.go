//go:build cgo && unix

package config

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jotsmith/jotsmith/backends/pkcs11"
)

// softHSM returns a PKCS#11 store that the key of a file has been imported to.
func softHSM(t *testing.T, file string) (store, bool) {
	t.Helper()
	modules, _ := filepath.Glob("/usr/lib/softhsm/libsofthsm2.so")
	for _, pattern := range []string{"/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"} {
		found, _ := filepath.Glob(pattern)
		modules = append(modules, found...)
	}
	if len(modules) == 0 {
		t.Fatal("libsofthsm2.so is missing: apt-get install softhsm2")
	}
	const pin = "98765432"
	dir := t.TempDir()
	pinFile, conf := filepath.Join(dir, "pin"), filepath.Join(dir, "softhsm2.conf")
	for path, text := range map[string]string{pinFile: pin + "\n", conf: "directories.tokendir = " + dir + "/tokens\nlog.level = ERROR\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", "presets", "--pin", pin, "--so-pin", pin},
		{"--import", file, "--token", "presets", "--pin", pin, "--label", "k", "--id", "01"},
	} {
		if out, err := exec.CommandContext(t.Context(), "softhsm2-util", args...).CombinedOutput(); err != nil {
			t.Fatalf("softhsm2-util: %v: %s", err, out)
		}
	}
	backend, err := pkcs11.Open(t.Context(), "pkcs11:token=presets?module-path="+modules[0]+"&pin-source=file:"+pinFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	return store{backend, "object=k"}, true
}
