package audit

import (
	"errors"
	"syscall"
)

// Sync has the disk confirm what was written, and the file's new size with it, but not
// its times, which nobody asks for: fdatasync(2).
func (f plainFile) Sync() error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
