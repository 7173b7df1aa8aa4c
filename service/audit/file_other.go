//go:build !unix

package audit

import (
	"errors"
	"io/fs"
)

const noFollow = 0

var errNoLocks = errors.New("this system has no locks that the audit log could use")

func lock(interface{ Fd() uintptr }) error { return errNoLocks }

func checkWriters(fs.FileInfo) error { return nil }

func checkSecret(fs.FileInfo) error { return nil }

func ignoreUnsupported(error) error { return nil }
