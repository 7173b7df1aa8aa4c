//go:build !unix

package filekey

import (
	"io/fs"

	"github.com/jotsmith/jotsmith/backends"
)

const nonblock = 0

// checkAccess refuses every file: without Unix owners and modes this package
// cannot tell who else may read a key.
func checkAccess(string, fs.FileInfo) error {
	return refuse(backends.ErrAccessDenied, "who may read it cannot be checked on this system: keep the key on Linux or macOS")
}
