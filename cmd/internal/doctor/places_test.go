//go:build unix

package doctor

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPlacesThatTheServerWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state.json")
	wantFindings(t, written("state", path, true))
	wantFindings(t, written("state", filepath.Join(dir, "none", "state.json"), true), "error is not there")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, written("state", path, true))
	wantFindings(t, written("state", filepath.Join(path, "below"), true), "error not a directory", "error not a directory")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, written("state", path, true), "error lets everyone use it")
	wantFindings(t, written("audit", path, false))
	wantFindings(t, written("state", dir, true), "error is not a regular file")
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // which is what is to be found
		t.Fatal(err)
	}
	wantFindings(t, written("audit", path, false), "warning lets everyone")
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, written("audit", path, false))
}

func TestWhatAnotherUserMayNotWrite(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write everywhere: a read-only file system stands for what it may not")
		wantFindings(t, writable("socket", "/proc/self"), "error may not make files in /proc/self")
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) //nolint:gosec // a directory
	wantFindings(t, writable("socket", dir), "error may not make files in")
}
