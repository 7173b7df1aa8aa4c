//go:build unix

package filekey

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/jotsmith/jotsmith/backends"
)

const nonblock = syscall.O_NONBLOCK

// checkAccess refuses a key file that somebody else than root and this program
// could have written, or than them and one group could have read.
//
// The group may read, and no more, because Kubernetes mounts a secret into a
// pod with fsGroup as root's file of mode 0440, and a program that is not root
// can read it in no other way. Who is in the group is the administrator's
// decision. A POSIX access list shows in the group's bits: one that lets anyone
// write is refused with them.
func checkAccess(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return refuse(backends.ErrAccessDenied, "the file system does not say who owns the file: use one that does")
	}
	return checkOwnerAndMode(path, info.Mode().Perm(), stat.Uid, uint32(os.Geteuid()))
}

func checkOwnerAndMode(path string, perm fs.FileMode, owner, self uint32) error {
	if owner != 0 && owner != self {
		return refuse(backends.ErrAccessDenied,
			"it belongs to uid %d, who could change it: run chown %d %s", owner, self, path)
	}
	switch {
	case perm&0o007 != 0:
		return refuse(backends.ErrAccessDenied, "its mode %04o lets everyone use it: run chmod 600 %s", perm, path)
	case perm&0o030 != 0:
		return refuse(backends.ErrAccessDenied, "its mode %04o lets its group change it: run chmod 600 %s", perm, path)
	}
	return nil
}
