package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Tail calls show with the last n records of the file at path and their lines,
// reading no more of it than that takes. With poll over 0 it goes on with the
// records that come, for which it looks as often, and with the files that the
// log is rotated to, until ctx ends, which is no error. A line that is no record
// is shown as the zero Record. The line must not be kept.
func Tail(ctx context.Context, path string, n int, poll time.Duration, show func(r Record, line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkPlain(info); err != nil {
		return err
	}
	offset, err := lastLines(f, info.Size(), n)
	if err != nil {
		return err
	}
	for {
		// What is read after the path names another file is all of this one.
		at, statErr := os.Stat(path)
		end := info.Size()
		if now, err := f.Stat(); err == nil && poll > 0 {
			end = now.Size()
		}
		if offset, err = showFrom(f, offset, end, show); err != nil || poll <= 0 {
			return err
		}
		if statErr == nil && !os.SameFile(at, info) {
			next, err := os.Open(path)
			if err != nil {
				return err
			}
			f.Close()
			f, offset = next, 0
			if info, err = f.Stat(); err != nil {
				return err
			}
			continue
		}
		if statErr == nil && at.Size() < offset { // cut back to what was confirmed
			offset = at.Size()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poll):
		}
	}
}

// lastLines returns where the last n whole lines of a file begin.
func lastLines(f io.ReaderAt, size int64, n int) (int64, error) {
	const chunk = 64 << 10
	data := make([]byte, chunk)
	seen := 0
	for end := size; end > 0; {
		start := max(end-chunk, 0)
		part := data[:end-start]
		if _, err := f.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for at := bytes.LastIndexByte(part, '\n'); at >= 0; at = bytes.LastIndexByte(part[:at], '\n') {
			if seen++; seen > n {
				return start + int64(at) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// showFrom shows the whole lines of a file from offset to end, and returns where
// they end.
func showFrom(f *os.File, offset, end int64, show func(Record, []byte) error) (int64, error) {
	in := newLines(io.NewSectionReader(f, offset, max(end-offset, 0)))
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		offset += int64(len(line))
		r, err := ParseLine(line)
		if err != nil {
			r = Record{}
		}
		if err := show(r, line); err != nil {
			return offset, err
		}
	}
}
