// Package terminal is how the program meets a person: a screen that it has to
// itself for a while, and text that a terminal shows and does not obey.
package terminal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"
)

// Style is how a line looks.
type Style int

// The styles. A screen without colours shows them all alike.
const (
	Normal Style = iota
	Title
	Bad
	Faint
)

// Line is a line of a screen, in ASCII.
type Line struct {
	Text  string
	Style Style
}

// What is written to a terminal (ECMA-48 and xterm's private modes).
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[2J" // the other screen, no cursor, nothing on it
	leave = "\x1b[?25h\x1b[?1049l"        // the cursor, and the screen as it was
	home  = "\x1b[H"
	rest  = "\x1b[K" // what is right of here is gone
	below = "\x1b[J"
	reset = "\x1b[0m"
)

// Screen is a terminal that the program has to itself, until Close. Its methods
// are one goroutine's.
type Screen struct {
	in      *os.File
	out     *os.File
	colours bool

	before *term.State
	reader cancelreader.CancelReader
	keys   chan byte
	done   chan struct{} // closed by Close
	read   sync.WaitGroup
	fault  error // why keys was closed; set before it was
	once   sync.Once
	err    error
}

// IsTerminal says whether a file is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Open takes a terminal, whose keyboard is in and whose screen is out. Whoever
// opens it closes it, however he ends. It starts the goroutine that reads the
// keys, which Close ends.
func Open(in, out *os.File, colours bool) (*Screen, error) {
	if !IsTerminal(in) || !IsTerminal(out) {
		return nil, errors.New("standard input and output are no terminal")
	}
	reader, err := cancelreader.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("keyboard: %w", err)
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("terminal: %w", err), reader.Close())
	}
	s := &Screen{
		in: in, out: out, colours: colours, before: before, reader: reader,
		keys: make(chan byte), done: make(chan struct{}),
	}
	s.read.Go(s.readKeys)
	if _, err := out.WriteString(enter); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Keys are the keys that are pressed. It is closed when there can be no more.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Fault says why Keys was closed.
func (s *Screen) Fault() error { return s.fault }

// readKeys reads until the reader is cancelled.
func (s *Screen) readKeys() {
	defer close(s.keys)
	var parser keys
	var buf [64]byte
	for {
		n, err := s.reader.Read(buf[:])
		for _, b := range buf[:n] {
			key, ok := parser.key(b)
			if !ok {
				continue
			}
			select {
			case s.keys <- key:
			case <-s.done:
				return
			}
		}
		if err != nil {
			if !errors.Is(err, cancelreader.ErrCanceled) {
				s.fault = fmt.Errorf("keyboard: %w", err)
			}
			return
		}
	}
}

// Size returns the width and height of the screen: 80 and 24 where the terminal
// does not know.
func (s *Screen) Size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// Draw shows lines, which fit the screen, in the place of those before.
func (s *Screen) Draw(lines []Line) error {
	var b strings.Builder
	b.WriteString(home)
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		code := s.code(l.Style)
		b.WriteString(code)
		b.WriteString(l.Text)
		if code != "" {
			b.WriteString(reset)
		}
		b.WriteString(rest)
	}
	b.WriteString(below)
	_, err := s.out.WriteString(b.String())
	return err
}

func (s *Screen) code(style Style) string {
	if !s.colours {
		return ""
	}
	switch style {
	case Title:
		return "\x1b[1m"
	case Bad:
		return "\x1b[31m"
	case Faint:
		return "\x1b[2m"
	case Normal:
	}
	return ""
}

// Close gives the terminal back as it was. It may be called again.
func (s *Screen) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.reader.Cancel()
		s.read.Wait()
		_, err := s.out.WriteString(leave)
		s.err = errors.Join(err, term.Restore(int(s.in.Fd()), s.before), s.reader.Close())
	})
	return s.err
}
