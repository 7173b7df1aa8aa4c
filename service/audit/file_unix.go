//go:build unix

package audit

import (
	"errors"
	"fmt"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// lock takes the file for this process, until the file is closed.
func lock(f interface{ Fd() uintptr }) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return errors.New("another process has this log open: each server needs one of its own")
	case err != nil:
		return fmt.Errorf("cannot be locked: %w", err)
	}
	return nil
}

// ignoreUnsupported drops the error of a file system that cannot flush a
// directory by itself.
func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
