//go:build unix

package backends

import (
	"io/fs"
	"os"
	"syscall"
)

const nonblock = syscall.O_NONBLOCK

// ownerOf returns whose a file is, and whose this program.
func ownerOf(info fs.FileInfo) (owner, self uint32, err error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, RefuseFile(ErrAccessDenied, "the file system does not say who owns it: use one that does")
	}
	return stat.Uid, uint32(os.Geteuid()), nil
}
