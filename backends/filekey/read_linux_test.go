package filekey

import (
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

func TestAFileThatTheSystemDoesNotLetUsRead(t *testing.T) {
	dir := t.TempDir()
	for parent := dir; parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		must(t, os.Chmod(parent, 0o755))
	}
	write(t, dir, "key.p8", pkcs8(t, newKeyOn(t, elliptic.P256())))
	must(t, os.Chmod(filepath.Join(dir, "key.p8"), 0))

	// Root may read everything, so root looks at the file with another's eyes:
	// setfsuid holds for this thread alone, which ends with the test.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		}
		_, err := readKeyFile(dir, "key.p8")
		done <- err
	}()
	err := <-done
	if !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("readKeyFile = %v, want %v", err, fs.ErrPermission)
	}
	err = open(t, dir).readError("describe", "key.p8", err)
	if !errors.Is(err, backends.ErrAccessDenied) || !strings.Contains(err.Error(), dir+"/key.p8: permission denied: let uid ") {
		t.Errorf("error is %v", err)
	}
}
