//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"github.com/jotsmith/jotsmith/backends"
)

// maxPIN is more than any token takes (ulMaxPinLen is 255 at most in practice).
const maxPIN = 1024

// pin is a user PIN. It shows itself to nobody but C_Login.
type pin []byte

// String hides the PIN from fmt and slog.
func (pin) String() string { return "[PIN]" }

// GoString hides the PIN from %#v.
func (pin) GoString() string { return "[PIN]" }

// Format hides the PIN from every verb, those for bytes included.
func (pin) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[PIN]") }

// wipe overwrites the PIN.
func (p pin) wipe() { clear(p) }

// borrow returns the PIN as a string that shares its memory: it must not
// outlive the PIN. A string of its own could not be wiped.
func (p pin) borrow() string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// readPIN reads the PIN file, which only those may read who pinAccess says. One
// newline at the end is not part of the PIN. The caller wipes the PIN.
func readPIN(path string) (pin, error) {
	// O_NONBLOCK: a FIFO in its place must not hold us up.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w: write the user PIN into that file with mode 0600", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s is not a regular file", path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fail(backends.ErrAccessDenied, "pin-source: the file system does not say who owns %s", path)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w", err)
	}
	file := fileAccess{info.Mode().Perm(), int(stat.Uid), int(stat.Gid)}
	if err := pinAccess(path, file, os.Geteuid(), append(groups, os.Getegid())); err != nil {
		return nil, err
	}

	buffer := make([]byte, maxPIN+2)
	n, err := io.ReadFull(f, buffer)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		clear(buffer)
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w", err)
	}
	text := bytes.TrimSuffix(bytes.TrimSuffix(buffer[:n], []byte("\n")), []byte("\r"))
	if len(text) == 0 || len(text) > maxPIN || bytes.IndexByte(text, 0) >= 0 {
		clear(buffer)
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s holds no PIN: write one line of 1 to %d bytes", path, maxPIN)
	}
	return pin(text), nil
}

// fileAccess is who may do what with a file.
type fileAccess struct {
	perm     fs.FileMode
	uid, gid int
}

// pinAccess refuses a PIN file of anybody but root and this process's user, and
// one that others may use. One exception: of root's file, a group of a process
// that is not root may be the reader, because that is how Kubernetes mounts a
// secret into a pod with fsGroup, and such a process can read it in no other way.
func pinAccess(path string, file fileAccess, user int, groups []int) error {
	forbidden := fs.FileMode(0o077)
	if file.uid == 0 && user != 0 && slices.Contains(groups, file.gid) {
		forbidden = 0o037
	}
	switch {
	case file.uid != 0 && file.uid != user:
		return fail(backends.ErrAccessDenied, "pin-source: %s belongs to uid %d, neither root nor this process's user: chown it", path, file.uid)
	case file.perm&forbidden != 0:
		return fail(backends.ErrAccessDenied, "pin-source: %s has mode %04o and others may use it: chmod 0600 %s", path, file.perm, path)
	}
	return nil
}
