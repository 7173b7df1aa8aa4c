//go:build !unix

package backends

import "io/fs"

const nonblock = 0

// ownerOf fails: without Unix owners and modes nobody can tell who else may use
// a file.
func ownerOf(fs.FileInfo) (owner, self uint32, err error) {
	return 0, 0, RefuseFile(ErrAccessDenied, "who may use it cannot be checked on this system: keep it on Linux or macOS")
}
