package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jotsmith/jotsmith/backends"
)

// file is what the log asks of an open file. Tests put one in its place that
// fails.
type file interface {
	io.Writer // at the end
	io.ReaderAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

// openFile opens a file of the log, or makes one with os.O_CREATE.
func openFile(path string, flag int) (file, error) {
	f, err := openPlain(path, flag)
	if err != nil {
		return nil, err
	}
	return plainFile{f}, nil
}

// plainFile is an open file of the log.
type plainFile struct{ *os.File }

// openPlain opens a plain file, with flags beside os.O_RDWR and os.O_APPEND. It
// does not wait for the other end of a pipe and follows no link.
func openPlain(path string, flag int) (*os.File, error) {
	before, err := os.Lstat(path) // a device might do things when it is opened
	switch {
	case errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE != 0:
	case err != nil:
		return nil, err
	case flag&os.O_EXCL == 0:
		if err := checkPlain(before); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return os.OpenFile(path, flag|os.O_APPEND|os.O_RDWR|noFollow, 0o600)
}

func checkPlain(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return errors.New("is a directory: name a file in it")
	case mode&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link: name the file itself")
	default:
		return fmt.Errorf("is not a plain file (%s)", mode.Type())
	}
}

// checkOwn looks at the open file of a path once more, and at who else could
// write it.
func checkOwn(path string, f file) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if err := checkPlain(info); err != nil {
		return nil, err
	}
	return info, backends.CheckWriters(path, info)
}

// plain is the error without the path, which the message has already.
func plain(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// syncDir has the disk confirm the names in the directory of a path.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return ignoreUnsupported(dir.Sync())
}

// split returns what the names of the files of one log begin with, and the
// extension that they end with.
func split(path string) (stem, ext string) {
	ext = filepath.Ext(path)
	return strings.TrimSuffix(path, ext), ext
}

// rotatedName is where a file is moved to: with the numbers of its first and
// last record ahead of its extension.
func rotatedName(path string, first, last uint64) string {
	stem, ext := split(path)
	return fmt.Sprintf("%s.%d-%d%s", stem, first, last, ext)
}

// isRecordFile says whether a name in a log's directory may be one of its
// files, and not what else the log keeps there.
func isRecordFile(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, keySuffix) && !strings.Contains(name, tornInfix)
}

// movedName says whether a file of this name may be one that the log was moved
// to: audit.1-70.jsonl is by this package, audit.jsonl.1, audit.jsonl-20261123
// and audit-20261123.jsonl by logrotate. audit-eu.jsonl is another log.
func movedName(base, name string) bool {
	if more, ok := strings.CutPrefix(name, base); ok {
		return strings.HasPrefix(more, ".") || strings.HasPrefix(more, "-")
	}
	stem, ext := split(base)
	more, ok := strings.CutPrefix(name, stem)
	if !ok || !strings.HasSuffix(more, ext) {
		return false
	}
	more = strings.TrimSuffix(more, ext)
	return more != "" && strings.ContainsAny(more[:1], ".-") && strings.Trim(more[1:], "0123456789-") == ""
}

// predecessor finds the file that a log goes on from whose own file is not
// there or empty: of the files beside it that it was moved to the one with the
// highest record. It returns nil where there is none.
func predecessor(path string) (*position, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var newest *position
	for _, entry := range entries {
		name := entry.Name()
		if !movedName(filepath.Base(path), name) || !entry.Type().IsRegular() || !isRecordFile(name) {
			continue
		}
		p, err := positionIn(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return nil, err
		}
		if p != nil && (newest == nil || p.seq > newest.seq) {
			newest = p
		}
	}
	return newest, nil
}

// positionIn returns where the chain stands at the end of a file; nil for one
// that is no log.
func positionIn(path string) (*position, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !beginsAsLog(f) {
		return nil, nil
	}
	p, err := readEnd(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if p.seq == 0 || p.good < info.Size() {
		return nil, fmt.Errorf("%s: ends in half a record: cut it there, or move it away", path)
	}
	p.name = filepath.Base(path)
	return &p, nil
}

// beginsAsLog says whether a file begins with a record's first bytes.
func beginsAsLog(f io.ReaderAt) bool {
	begin := make([]byte, len(linePrefix))
	n, _ := f.ReadAt(begin, 0)
	return string(begin[:n]) == linePrefix
}
