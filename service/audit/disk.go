package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// tornInfix is in the names of the files with what crashes have left.
const tornInfix = ".torn-"

// cut moves what a crash has left behind the last record to a file beside the
// log, and returns the record that says so; nil where there was nothing.
func (w *writer) cut(f file, at position, size int64) (*entry, error) {
	if at.good == size {
		return nil, nil
	}
	kept, digest, err := w.setAside(io.NewSectionReader(f, at.good, size-at.good), at.seq+1)
	if err != nil {
		return nil, fmt.Errorf("what a crash has left in it cannot be set aside: %w", err)
	}
	if err := errors.Join(f.Truncate(at.good), f.Sync()); err != nil {
		return nil, plain(err)
	}
	w.log.Warn("audit log ended in half a record",
		slog.String("path", w.path), slog.Int64("bytes", size-at.good), slog.String("kept", kept))
	e := &entry{body: []byte(`"type":"` + typeRecovered + `"`)}
	e.number("bytes", uint64(size-at.good))
	e.hex("sha256", digest)
	e.text("kept", filepath.Base(kept))
	e.body = append(e.body, '}', '\n')
	return e, nil
}

func (w *writer) setAside(torn io.Reader, seq uint64) (string, []byte, error) {
	name := fmt.Sprintf("%s%s%d", w.path, tornInfix, seq)
	aside, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	for i := 2; errors.Is(err, fs.ErrExist) && i < 1000; i++ { // a crash of the one who set aside
		name = fmt.Sprintf("%s%s%d-%d", w.path, tornInfix, seq, i)
		aside, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	if err != nil {
		return "", nil, err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(aside, sum), torn)
	if err := errors.Join(err, aside.Sync(), aside.Close()); err != nil {
		return "", nil, errors.Join(err, os.Remove(name))
	}
	return name, sum.Sum(nil), nil
}

// rotate sets the file aside under a name with its numbers and begins another.
// Where it cannot be set aside the log goes on in it: a larger file is the
// lesser evil.
func (w *writer) rotate() error {
	name := rotatedName(w.path, w.at.first, w.at.seq)
	if err := w.rename(name); err != nil {
		w.log.Error("audit log cannot be rotated and grows on", slog.String("path", w.path), slog.Any("error", err))
		w.limit = w.at.good + w.maxBytes/8 + 1 // for the next attempt
		return nil
	}
	w.from, w.moved, w.limit = filepath.Base(name), true, w.maxBytes
	w.settle()
	w.abandon()
	return w.attach()
}

func (w *writer) rename(name string) error {
	switch _, err := os.Lstat(name); {
	case err == nil:
		return fmt.Errorf("%s is there already", name)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.Rename(w.path, name)
}

// look finds out whether the path still names the file, and the file still
// ends where it did.
func (w *writer) look() {
	at, err := os.Lstat(w.path)
	switch {
	case err != nil || !os.SameFile(at, w.info):
		w.leave()
	case at.Size() != w.at.good:
		w.abandon() // attach says what is wrong
	}
}

// leave lets go of a file that has been moved away.
func (w *writer) leave() {
	w.from, w.moved, w.limit = w.movedTo(), true, w.maxBytes
	w.settle()
	w.abandon()
	w.log.Info("audit log was moved away", slog.String("path", w.path), slog.String("to", w.from))
}

// movedTo is the name that the file has now in the log's directory.
func (w *writer) movedTo() string {
	entries, err := os.ReadDir(filepath.Dir(w.path))
	if err != nil {
		return "unknown"
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && os.SameFile(info, w.info) {
			return entry.Name()
		}
	}
	return "unknown"
}

func (w *writer) reopen() error {
	if w.f != nil {
		w.look()
	}
	if w.f != nil {
		return nil
	}
	if err := w.attach(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// attach opens the file again after a failure, or begins another where it has
// been moved away. It goes on only behind the record that was confirmed last.
func (w *writer) attach() error {
	f, info, err := w.openOwn(os.O_CREATE)
	if err != nil {
		return err
	}
	if err := w.attachTo(f, info); err != nil {
		closeFile(f)
		return err
	}
	w.f, w.info, w.moved = f, info, false
	return nil
}

func (w *writer) attachTo(f file, info fs.FileInfo) error {
	same := os.SameFile(info, w.info)
	switch size := info.Size(); {
	case !same && size > 0:
		return errors.New("another file stands in its place: move it away")
	case !same:
		if !w.moved {
			w.from = w.movedTo()
		}
		w.at.first, w.at.last, w.at.good = 0, 0, 0
		return syncDir(w.path)
	case size < w.at.good:
		return fmt.Errorf("it has lost its last %d bytes: move it away", w.at.good-size)
	}
	if w.at.good > 0 {
		line := make([]byte, w.at.last)
		if _, err := f.ReadAt(line, w.at.good-w.at.last); err != nil {
			return plain(err)
		}
		if hashOf(line) != w.at.hash {
			return errors.New("its last record is not the one that was written: move it away")
		}
	}
	if more := info.Size() - w.at.good; more > 0 { // confirmed to nobody
		w.log.Warn("audit log is cut back to its last confirmed record",
			slog.String("path", w.path), slog.Int64("bytes", more))
	}
	if err := f.Truncate(w.at.good); err != nil {
		return plain(err)
	}
	if w.mode == SyncNone {
		return nil
	}
	return plain(f.Sync())
}
