package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileIsReplacedWholeAndForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if _, err := Read(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, text := range []string{"first", "second"} {
		if err := Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, 10); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatIsNoSmallFileOfOursIsRefused(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := Replace(open, []byte("all")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o606); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, huge, open} {
		if _, err := Read(path, 10); err == nil || strings.HasPrefix(err.Error(), dir) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Replace(filepath.Join(dir, "gone", "state"), nil); err == nil {
		t.Error("written into a directory that is not there")
	}
}
