// Package statefile keeps a small file that is always whole: what the server
// must know after a restart.
package statefile

import (
	"errors"
	"os"
	"path/filepath"

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
	dir := filepath.Dir(path)
	next, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = next.Write(data)
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return syncDir(dir)
}

// syncDir flushes a directory, without which the file's new name can be lost.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
