//go:build unix

package backends

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWhoMayUseASecretFile(t *testing.T) {
	const root, self, other = 0, 1000, 1001
	for _, c := range []struct {
		mode        fs.FileMode
		owner, user uint32
		want        string
	}{
		{0o600, self, self, ""},
		{0o400, self, self, ""},
		{0o700, self, self, ""},
		{0o400, root, root, ""},
		{0o600, root, self, ""},
		{0o440, root, self, ""}, // Kubernetes with fsGroup, a credential of systemd
		{0o640, root, self, ""},
		{0o640, root, root, ""},
		{0o440, self, self, "its mode 0440 lets its group read it: run chmod 600 /f"},
		{0o640, self, self, "its mode 0640 lets its group read it: run chmod 600 /f"},
		{0o620, self, self, "its mode 0620 lets its group change it: run chmod 600 /f"},
		{0o660, root, self, "its mode 0660 lets its group change it: run chmod 600 /f"},
		{0o610, root, self, "its mode 0610 lets its group change it: run chmod 600 /f"},
		{0o444, root, self, "its mode 0444 lets everyone use it: run chmod 600 /f"},
		{0o604, self, self, "its mode 0604 lets everyone use it: run chmod 600 /f"},
		{0o602, root, root, "its mode 0602 lets everyone use it: run chmod 600 /f"},
		{0o600, other, self, "it belongs to uid 1001, who could change it: run chown 1000 /f"},
		{0o600, self, root, "it belongs to uid 1000, who could change it: run chown 0 /f"},
	} {
		got := ""
		if err := checkAccess("/f", c.mode, c.owner, c.user, closedTo(c.owner)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%04o of %d for %d: %q, want %q", c.mode, c.owner, c.user, got, c.want)
		}
	}
	if err := checkAccess("/d", fs.ModeDir|0o770, root, self, 0o022); err == nil || !strings.HasSuffix(err.Error(), "run chmod 700 /d") {
		t.Errorf("a directory: %v", err)
	}
}

func TestSecretFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	put := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("secret", link); err != nil {
		t.Fatal(err)
	}
	put("12345", 0o600)
	for _, name := range []string{path, link} {
		if data, err := ReadSecretFile(name, 5); err != nil || string(data) != "12345" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	put("12345", 0o604)
	if data, err := ReadSecretFile(link, 5); err == nil || !strings.Contains(err.Error(), "lets everyone use it") {
		t.Errorf("behind a link: %q, %v", data, err)
	}
	if data, err := ReadFile(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("not as a secret: %q, %v", data, err)
	}
}

func TestWhatIsNoRegularFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	large, fifo, gone := filepath.Join(dir, "large"), filepath.Join(dir, "fifo"), filepath.Join(dir, "gone")
	if err := os.WriteFile(large, make([]byte, 6), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:         "it is a directory: name a regular file",
		fifo:        "it is a FIFO: name a regular file",
		"/dev/zero": "it is a device: name a regular file",
		large:       "it is larger than 5 bytes: name the right file",
		gone:        "no such file or directory",
	} {
		for _, read := range []func(string, int64) ([]byte, error){ReadFile, ReadSecretFile} {
			data, err := read(path, 5)
			if data != nil || err == nil || err.Error() != path+": "+want {
				t.Errorf("%s: %q, %v, want %s", path, data, err, want)
			}
			if (path == gone) != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", path, err)
			}
			if _, refused := errors.AsType[*FileRefusal](err); refused == (path == gone) {
				t.Errorf("%s: a refusal: %v", path, refused)
			}
		}
	}
}

// A file that is being written is not taken for half of what it will be.
func TestFileThatGrowsIsNotReadInPart(t *testing.T) {
	if _, err := ReadFile("/proc/self/status", 1<<20); err == nil { // has no size, and content
		t.Error("read")
	} else if !strings.Contains(err.Error(), "it grew while it was read") && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
