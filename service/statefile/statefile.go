// Package statefile keeps a small file that is always whole: what the server
// must know after a restart.
package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Read returns a file of at most limit bytes. A file that is not there is
// fs.ErrNotExist; no error names the path, which the caller's message does.
func Read(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: that of a pipe would not return
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("not a regular file of at most %d bytes", limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, plain(err)
}

// plain is the error without the path.
func plain(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
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
