// Package statefile keeps a small file that is always whole: what the server
// must know after a restart.
package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/jotsmith/jotsmith/backends"
)

// Read returns a file of at most limit bytes, which is held to the same as one
// with a secret in it: who can write it decides what the server remembers. A
// file that is not there is fs.ErrNotExist; no error begins with the path, as
// the caller's message does.
func Read(path string, limit int64) ([]byte, error) {
	data, err := backends.ReadSecretFile(path, limit)
	return data, errors.Unwrap(err)
}

// Replace puts data in the place of what the file holds, for its owner alone to
// read. It returns when the disk has it; a crash leaves the old file or the new
// one.
func Replace(path string, data []byte) error {
	next, err := Stage(path, data, 0o600)
	if err != nil {
		return err
	}
	return next.Commit()
}

// Staged is the next content of a file, which the disk has beside it. Its owner
// ends it by Commit or Discard.
type Staged struct{ path, next string }

// Stage writes what a file shall hold, with its mode, and leaves the file as it
// is.
func Stage(path string, data []byte, mode fs.FileMode) (Staged, error) {
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return Staged{}, err
	}
	_, err = next.Write(data)
	if err == nil {
		err = next.Chmod(mode)
	}
	s := Staged{path, next.Name()}
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return Staged{}, errors.Join(err, s.Discard())
	}
	return s, nil
}

// Commit puts the content in the place of what the file holds.
func (s Staged) Commit() error {
	if err := os.Rename(s.next, s.path); err != nil {
		return errors.Join(err, s.Discard())
	}
	return syncDir(filepath.Dir(s.path))
}

// Discard leaves the file as it is.
func (s Staged) Discard() error { return os.Remove(s.next) }

// syncDir flushes a directory, without which the file's new name can be lost.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // where directories cannot be flushed
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
