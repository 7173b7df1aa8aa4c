//go:build unix

package filekey

import (
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// A run that is killed leaves nothing, or something of which the next run says
// what it is and how to go on. The key itself is never there by halves.
func TestKilledAtEachStep(t *testing.T) {
	const dirVariable = "JOTSMITH_TEST_DIR"
	if report := backendtest.Victim(); report != nil {
		dir := os.Getenv(dirVariable)
		key, err := ReadPrivateKey(t.Context(), filepath.Join(dir, "source.p8"))
		if err != nil {
			t.Fatal(err)
		}
		how := trusting()
		how.Report = report
		if _, err := openMaker(t, dir).Import(t.Context(), "k.p8", key, how); err != nil {
			t.Fatal(err)
		}
		return
	}
	deaths, remnants := 0, 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		write(t, dir, "source.p8", pkcs8(t, newKeyOn(t, elliptic.P256())))
		if !backendtest.KilledAt(t, n, dirVariable+"="+dir) {
			break
		}
		deaths++
		key, err := ReadPrivateKey(t.Context(), filepath.Join(dir, "source.p8"))
		if err != nil {
			t.Fatal(err)
		}
		m := openMaker(t, dir)
		made, err := m.Import(t.Context(), "k.p8", key, trusting())
		if unfinished, ok := errors.AsType[*backends.UnfinishedError](err); ok {
			remnants++
			if !errors.Is(err, backends.ErrUnfinished) || len(unfinished.Left) != 1 {
				t.Fatalf("killed at report %d, the next run says %v", n, err)
			}
			file, _ := strings.CutPrefix(unfinished.Left[0].Remove, "rm ")
			if err := os.Remove(file); err != nil {
				t.Fatalf("killed at report %d, what is said to help does not: %v", n, err)
			}
			made, err = m.Import(t.Context(), "k.p8", key, trusting())
		}
		if err != nil || !made.PublicKey.Equal(key.Public()) {
			t.Errorf("killed at report %d, the next run says %v", n, err)
		}
		if found, _ := filepath.Glob(filepath.Join(dir, ".*")); len(found) > 0 {
			t.Errorf("killed at report %d, and in the end left are %v", n, found)
		}
	}
	if deaths < 6 || remnants < 3 {
		t.Errorf("%d deaths, %d remnants", deaths, remnants)
	}
}
