package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// position is where the chain stands at the end of a file.
type position struct {
	first uint64 // the number of the file's first record; 0 for a file without
	seq   uint64 // of the last
	hash  Hash   // of the last line
	last  int64  // its length
	good  int64  // where it ends; what follows in the file is a crash's leftover
	name  string // of the file, where it is not the log's own
}

const (
	firstWindow = 256 << 10
	lastWindow  = 256 << 20
)

// readEnd finds the last record of a file that goes on with the chain before
// it. It reads the end of the file and no more of it than that takes.
//
// A crash of the process leaves at most a last line without its end. A crash of
// the machine may leave, of what was not confirmed yet, lines with holes of zero
// bytes in them and whole lines behind those: a file's blocks do not reach the
// disk in their order. Both are leftovers, from the first such line on. A line
// that is wrong in any other way was not left by a crash, and is an error.
func readEnd(f io.ReaderAt, size int64) (position, error) {
	var p position
	if size == 0 {
		return p, nil
	}
	for window := int64(firstWindow); ; window *= 4 {
		start := max(size-window, 0)
		data := make([]byte, size-start)
		if _, err := f.ReadAt(data, start); err != nil && !errors.Is(err, io.EOF) {
			return p, err
		}
		if start > 0 { // begin with a whole line
			at := bytes.IndexByte(data, '\n') + 1
			data = data[at:]
			start += int64(at)
		}
		p, err := walk(data, start)
		switch {
		case err != nil:
			return p, err
		case p.seq > 0 && start > 0:
			p.first, err = firstSeq(f)
			return p, err
		case start == 0:
			return p, nil
		case window >= lastWindow:
			return p, fmt.Errorf("no record in its last %d bytes", lastWindow)
		}
	}
}

// walk follows the chain through the lines of data, which is the end of a file
// from start on.
func walk(data []byte, start int64) (position, error) {
	p := position{good: start}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return p, nil
		}
		line := data[:end+1]
		r, err := ParseLine(line)
		switch {
		case bytes.IndexByte(line, 0) >= 0:
			return p, nil
		case err != nil:
			return p, changed(p, err)
		case p.seq == 0 && start == 0 && !r.begins():
			return p, changed(p, errors.New("it does not say where it goes on from"))
		case p.seq > 0 && (r.Seq != p.seq+1 || r.Prev != p.hash):
			return p, changed(p, fmt.Errorf("record %d does not go on from record %d", r.Seq, p.seq))
		}
		if p.seq == 0 && start == 0 {
			p.first = r.Seq
		}
		p.seq, p.hash, p.last = r.Seq, hashOf(line), int64(len(line))
		p.good += p.last
		data = data[len(line):]
	}
	return p, nil
}

func changed(p position, err error) error {
	return fmt.Errorf("it has been changed after record %d: %w; look with jotsmith audit verify, then move it away to begin another", p.seq, err)
}

// firstSeq returns the number of a file's first record.
func firstSeq(f io.ReaderAt) (uint64, error) {
	data := make([]byte, maxLine)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	line, _, _ := bytes.Cut(data[:n], []byte{'\n'})
	r, err := ParseLine(line)
	if err != nil {
		return 0, fmt.Errorf("its first line is %w", err)
	}
	if !r.begins() {
		return 0, errors.New("its first line does not say where it goes on from")
	}
	return r.Seq, nil
}
