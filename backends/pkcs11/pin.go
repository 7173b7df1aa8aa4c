//go:build cgo && unix

package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// readPIN reads the PIN file, which is held to the same as a private key's. One
// newline at the end is not part of the PIN. The caller wipes the PIN.
func readPIN(path string) (pin, error) {
	data, err := backends.ReadSecretFile(path, maxPIN+2)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w: write the user PIN into that file with mode 0600", err)
	case err != nil:
		return nil, fail(backends.ErrAccessDenied, "pin-source: %w", err)
	}
	text := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if len(text) == 0 || len(text) > maxPIN || bytes.IndexByte(text, 0) >= 0 {
		clear(data)
		return nil, fail(backends.ErrAccessDenied, "pin-source: %s holds no PIN: write one line of 1 to %d bytes", path, maxPIN)
	}
	return pin(text), nil
}
