//go:build unix

package doctor

import "golang.org/x/sys/unix"

// mayWrite says why this process may not write a file, or make files in a
// directory.
func mayWrite(path string, dir bool) error {
	mode := uint32(unix.W_OK)
	if dir {
		mode |= unix.X_OK
	}
	return unix.Access(path, mode) // the kernel's own word: faccessat is worked out in the library on some systems
}
