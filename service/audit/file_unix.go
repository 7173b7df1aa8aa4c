//go:build unix

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// checkWriters refuses a file that somebody else than root and this program
// can write.
func checkWriters(info fs.FileInfo) error {
	perm := info.Mode().Perm()
	if perm&0o022 != 0 {
		return fmt.Errorf("others can write it, its mode is %04o: run chmod 600", perm)
	}
	return checkOwner(info)
}

// checkSecret refuses a file that somebody else than root and this program can
// use in any way.
func checkSecret(info fs.FileInfo) error {
	perm := info.Mode().Perm()
	if perm&0o077 != 0 {
		return fmt.Errorf("others can use it, its mode is %04o: run chmod 600", perm)
	}
	return checkOwner(info)
}

func checkOwner(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the file system does not say who owns it: use one that does")
	}
	if self := uint32(os.Geteuid()); stat.Uid != 0 && stat.Uid != self {
		return fmt.Errorf("it belongs to uid %d, who could change it: run chown %d", stat.Uid, self)
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
