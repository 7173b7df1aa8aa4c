//go:build unix

package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPlacesThatTheServerWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state.json")
	exam := func() *Exam {
		return examOf(t, plain+"ledger_file: "+path+"\naudit: {file: "+dir+"/audit.jsonl}")
	}
	// Besides that of /run/jotsmith, where the socket of the exam is, and of root.
	found := func(want ...string) {
		t.Helper()
		got := slices.DeleteFunc(exam().places(), func(f Finding) bool {
			return f.Subject == "doctor" || strings.HasPrefix(f.Subject, "socket /run/")
		})
		wantFindings(t, got, want...)
	}
	found()
	for _, f := range []struct {
		mode os.FileMode
		want []string
	}{
		{0o600, nil},
		{0o644, []string{"error lets everyone use it"}},
	} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.mode); err != nil {
			t.Fatal(err)
		}
		found(f.want...)
	}
	wantFindings(t, written("audit", path, false)) // all may read it
	wantFindings(t, written("state", dir, true), "error is not a regular file")
	wantFindings(t, writable("state", path), "error is not a directory")
	wantFindings(t, writable("state", filepath.Join(dir, "none")), "error is not there")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // which is what is to be found
		t.Fatal(err)
	}
	found("warning lets everyone")
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	found()
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
