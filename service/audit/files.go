package audit

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// source is one file of a log, to be read.
type source struct {
	path  string
	info  os.FileInfo
	first uint64 // the number of its first record; 0 where that cannot be read
}

// sources returns the files that paths name, in the order of their first
// records. A directory stands for the logs in it.
func sources(paths []string) ([]source, error) {
	var list []source
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		files := []string{path}
		if info.IsDir() {
			if files, err = logsIn(path); err != nil {
				return nil, err
			}
		}
		for _, name := range files {
			s, err := newSource(name)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(list, func(other source) bool { return os.SameFile(s.info, other.info) }) {
				list = append(list, s)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b source) int { return cmp.Compare(a.first, b.first) })
	return list, nil
}

// logsIn lists the files of a directory that are a log by their name or by
// their first bytes.
func logsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !entry.Type().IsRegular() || !isRecordFile(entry.Name()) {
			continue
		}
		if strings.Contains(entry.Name(), ".jsonl") || looksAsLog(path) {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no audit log in this directory", dir)
	}
	return files, nil
}

func looksAsLog(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // the reader says what is wrong with it
	}
	defer f.Close()
	return beginsAsLog(f)
}

func newSource(path string) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return source{}, err
	}
	if !info.Mode().IsRegular() {
		return source{}, fmt.Errorf("%s: is not a plain file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return source{}, err
	}
	defer f.Close()
	s := source{path: path, info: info}
	if line, err := newLines(f).next(); err == nil {
		if r, err := ParseLine(line); err == nil {
			s.first = r.Seq
		}
	}
	return s, nil
}

// open opens the file, if it is still the one that was listed.
func (s source) open() (*os.File, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, s.info) {
		f.Close()
		return nil, fmt.Errorf("%s: has been rotated just now: try again", s.path)
	}
	return f, nil
}

var (
	errTorn = errors.New("the last line has no end")
	errLong = fmt.Errorf("a line is longer than %d bytes", maxLine)
)

// lines reads a file line by line, in no more memory than the longest line.
type lines struct {
	r    *bufio.Reader
	long []byte
	torn int // bytes of an unfinished last line that have been read
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line with its newline, until the call after it. At the
// end it returns io.EOF, or errTorn behind half a line.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == nil && l.torn == 0 {
		return line, nil
	}
	if l.torn == 0 {
		l.long = l.long[:0]
	}
	l.long = append(l.long, line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(l.long) <= maxLine {
		line, err = l.r.ReadSlice('\n')
		l.long = append(l.long, line...)
	}
	l.torn = 0
	switch {
	case len(l.long) > maxLine:
		return nil, errLong
	case err == nil:
		return l.long, nil
	case !errors.Is(err, io.EOF):
		return nil, err
	case len(l.long) > 0:
		l.torn = len(l.long)
		return nil, errTorn
	}
	return nil, io.EOF
}

// patient is next for a file that may be written to at the moment: it waits a
// little for the rest of a line.
func (l *lines) patient(ctx context.Context) ([]byte, error) {
	line, err := l.next()
	for i := 0; i < 10 && errors.Is(err, errTorn); i++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		line, err = l.next()
	}
	return line, err
}

// Records reads the records of files, in any order, and of directories, in the
// order of their numbers. It checks nothing but that each line is a record, and
// ends at the first that is not; Verify checks them. A last line without an end
// is left out.
func Records(ctx context.Context, paths []string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		list, err := sources(paths)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, s := range list {
			if !s.records(ctx, yield) {
				return
			}
		}
	}
}

func (s source) records(ctx context.Context, yield func(Record, error) bool) bool {
	f, err := s.open()
	if err != nil {
		return yield(Record{}, err)
	}
	defer f.Close()
	in := newLines(f)
	size := int64(0)
	for n := 1; size < s.info.Size(); n++ {
		line, err := in.next()
		size += int64(len(line))
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return true
		}
		if err == nil {
			err = ctx.Err()
		}
		var r Record
		if err == nil {
			r, err = ParseLine(line)
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("%s:%d: %w", s.path, n, err))
			return false
		}
		if !yield(r, nil) {
			return false
		}
	}
	return true
}
