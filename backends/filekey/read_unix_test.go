//go:build unix

package filekey

import (
	"crypto/elliptic"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestDescribeRefusesFiles(t *testing.T) {
	good := pkcs8(t, newKeyOn(t, elliptic.P256()))
	outside := t.TempDir()
	write(t, outside, "key.p8", good)

	at := func(dir, name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		id   string // key.p8 unless set
		make func(t *testing.T, dir string)
		kind error
		want string // PATH stands for the file
	}{
		"missing": {
			make: func(*testing.T, string) {}, kind: backends.ErrKeyNotFound,
			want: "PATH: file does not exist: put the key's file there, or mend the key's id",
		},
		"in a directory that is a file": {
			id: "key.p8/key.p8", make: func(t *testing.T, dir string) { write(t, dir, "key.p8", good) },
			kind: backends.ErrKeyNotFound,
			want: "PATH: file does not exist: put the key's file there, or mend the key's id",
		},
		"a name too long": {
			id: strings.Repeat("x", 300), make: func(*testing.T, string) {}, kind: backends.ErrKeyNotFound,
			want: "PATH: file does not exist: put the key's file there, or mend the key's id",
		},
		"no file name": {
			id: "../key.p8", make: func(*testing.T, string) {}, kind: backends.ErrKeyNotFound,
			want: "an id is the name of a file inside the backend's directory: no leading or trailing slash, no . or .. element",
		},
		"empty": {
			make: func(t *testing.T, dir string) { write(t, dir, "key.p8", "") }, kind: backends.ErrKeyUnsuitable,
			want: "PATH: the file is empty: copy the key into it again",
		},
		"directory": {
			make: func(t *testing.T, dir string) { must(t, os.Mkdir(at(dir, "key.p8"), 0o700)) }, kind: backends.ErrKeyUnsuitable,
			want: "PATH: it is a directory: name a regular file",
		},
		"FIFO": {
			make: func(t *testing.T, dir string) { must(t, syscall.Mkfifo(at(dir, "key.p8"), 0o600)) }, kind: backends.ErrKeyUnsuitable,
			want: "PATH: it is a FIFO: name a regular file",
		},
		"socket": {
			make: func(t *testing.T, dir string) {
				t.Chdir(dir) // a socket's path is short by nature
				l, err := net.Listen("unix", "key.p8")
				must(t, err)
				t.Cleanup(func() { l.Close() })
			},
			kind: backends.ErrKeyUnsuitable,
			want: "PATH: it is a socket: name a regular file",
		},
		"1 GiB": {
			make: func(t *testing.T, dir string) {
				write(t, dir, "key.p8", good)
				must(t, os.Truncate(at(dir, "key.p8"), 1<<30))
			},
			kind: backends.ErrKeyUnsuitable,
			want: "PATH: it is larger than 16384 bytes: name the right file",
		},
		"16 KiB and a byte": {
			make: func(t *testing.T, dir string) { write(t, dir, "key.p8", good+strings.Repeat("\n", 16<<10+1-len(good))) },
			kind: backends.ErrKeyUnsuitable,
			want: "PATH: it is larger than 16384 bytes: name the right file",
		},
		"mode 0644": {
			make: withMode(good, 0o644), kind: backends.ErrAccessDenied,
			want: "PATH: its mode 0644 lets everyone use it: run chmod 600 PATH",
		},
		"mode 0604": {
			make: withMode(good, 0o604), kind: backends.ErrAccessDenied,
			want: "PATH: its mode 0604 lets everyone use it: run chmod 600 PATH",
		},
		"mode 0602": {
			make: withMode(good, 0o602), kind: backends.ErrAccessDenied,
			want: "PATH: its mode 0602 lets everyone use it: run chmod 600 PATH",
		},
		"mode 0660": {
			make: withMode(good, 0o660), kind: backends.ErrAccessDenied,
			want: "PATH: its mode 0660 lets its group change it: run chmod 600 PATH",
		},
		"link out of the directory": {
			make: func(t *testing.T, dir string) {
				rel, err := filepath.Rel(dir, at(outside, "key.p8"))
				must(t, err)
				must(t, os.Symlink(rel, at(dir, "key.p8")))
			},
			kind: backends.ErrAccessDenied,
			want: "PATH: a symbolic link leads out of the directory, or is absolute: move the key itself into the directory",
		},
		"absolute link": {
			make: func(t *testing.T, dir string) { must(t, os.Symlink(at(outside, "key.p8"), at(dir, "key.p8"))) },
			kind: backends.ErrAccessDenied,
			want: "PATH: a symbolic link leads out of the directory, or is absolute: move the key itself into the directory",
		},
		"linked directory outside": {
			id: "sub/key.p8", make: func(t *testing.T, dir string) { must(t, os.Symlink(outside, at(dir, "sub"))) },
			kind: backends.ErrAccessDenied,
			want: "PATH: a symbolic link leads out of the directory, or is absolute: move the key itself into the directory",
		},
		"links in a circle": {
			make: func(t *testing.T, dir string) { must(t, os.Symlink("key.p8", at(dir, "key.p8"))) },
			kind: backends.ErrAccessDenied,
			want: "PATH: its symbolic links go in a circle: point them at the key's file",
		},
		"dangling link": {
			make: func(t *testing.T, dir string) { must(t, os.Symlink("gone.p8", at(dir, "key.p8"))) },
			kind: backends.ErrKeyNotFound,
			want: "PATH: file does not exist: put the key's file there, or mend the key's id",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			id := c.id
			if id == "" {
				id = "key.p8"
			}
			_, err := open(t, dir).Describe(t.Context(), id)
			if !errors.Is(err, c.kind) {
				t.Fatalf("error %v is not %v", err, c.kind)
			}
			want := "describe " + id + ": " + c.kind.Error() + ": " + strings.ReplaceAll(c.want, "PATH", filepath.Join(dir, id))
			if err.Error() != want {
				t.Errorf("\n got %s\nwant %s", err, want)
			}
		})
	}
}

func TestDescribeRefusesADevice(t *testing.T) {
	// The directory is /dev itself, because only root can make a device.
	_, err := open(t, "/dev").Describe(t.Context(), "zero")
	if !errors.Is(err, backends.ErrKeyUnsuitable) || !strings.HasSuffix(err.Error(), "/dev/zero: it is a device: name a regular file") {
		t.Errorf("Describe of /dev/zero = %v", err)
	}
}

func TestDescribeAcceptsModes(t *testing.T) {
	good := pkcs8(t, newKeyOn(t, elliptic.P256()))
	modes := []os.FileMode{0o600, 0o400, 0o700}
	if os.Getuid() == 0 { // whose files a group may read
		modes = append(modes, 0o440, 0o640)
	}
	for _, mode := range modes {
		dir := t.TempDir()
		withMode(good, mode)(t, dir)
		if _, err := open(t, dir).Describe(t.Context(), "key.p8"); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestDescribeReadsKubernetesSecretMounts(t *testing.T) {
	// The layout that the kubelet's atomic writer makes, and how it changes it.
	dir := t.TempDir()
	first, second := newKeyOn(t, elliptic.P256()), newKeyOn(t, elliptic.P256())
	version := func(name, content string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		mode := os.FileMode(0o400)
		if os.Getuid() == 0 { // as the kubelet runs
			mode = 0o440
		}
		withMode(content, mode)(t, filepath.Join(dir, name))
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..2026_11_23_00_00_00.1", pkcs8(t, first))
	must(t, os.Symlink("..data/key.p8", filepath.Join(dir, "key.p8")))

	b := open(t, dir)
	before, err := b.Describe(t.Context(), "key.p8")
	must(t, err)
	version("..2026_11_24_00_00_00.2", pkcs8(t, second))
	must(t, os.RemoveAll(filepath.Join(dir, "..2026_11_23_00_00_00.1")))
	after, err := b.Describe(t.Context(), "key.p8")
	must(t, err)
	if !before.PublicKey.Equal(&first.PublicKey) || !after.PublicKey.Equal(&second.PublicKey) {
		t.Error("the described keys are not the mounted ones")
	}
	if before.CanonicalID != after.CanonicalID {
		t.Errorf("the canonical id changed with the mount, from %q to %q", before.CanonicalID, after.CanonicalID)
	}
}

func withMode(content string, mode os.FileMode) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		write(t, dir, "key.p8", content)
		must(t, os.Chmod(filepath.Join(dir, "key.p8"), mode))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
