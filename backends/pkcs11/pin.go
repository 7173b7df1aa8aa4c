//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"fmt"
	"io"
	"os"
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

// readPIN reads the PIN file, which nobody but its owner may read and which
// belongs to root or to this process's user. One newline at the end is not
// part of the PIN. The caller wipes the PIN.
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
	stat, _ := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s has mode %04o and others may use it: chmod 0600 %s",
			path, info.Mode().Perm(), path)
	case stat == nil || stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s belongs neither to root nor to this process's user: chown it", path)
	}

	buffer := make([]byte, maxPIN+2)
	n, err := io.ReadFull(f, buffer)
	if err != io.EOF && err != io.ErrUnexpectedEOF && err != nil {
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
