//go:build unix

package terminal_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	"github.com/jotsmith/jotsmith/cmd/internal/terminal/terminaltest"
)

func TestScreenTakesTheTerminalAndGivesItBack(t *testing.T) {
	c := terminaltest.New(t, 90, 30)
	c.Look()
	s, err := terminal.Open(c.TTY, c.TTY, true)
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := c.IsAsBefore(); same {
		t.Error("the terminal still waits for whole lines")
	}
	if width, height := s.Size(); width != 90 || height != 30 {
		t.Errorf("%d x %d", width, height)
	}
	c.Press("\x1b[As")
	if key := <-s.Keys(); key != 's' {
		t.Errorf("key %q", key)
	}
	c.Press("\x03") // which is a key now, and no signal
	if key := <-s.Keys(); key != terminal.Interrupt {
		t.Errorf("key %q", key)
	}
	if err := s.Draw([]terminal.Line{{Text: "head", Style: terminal.Title}, {Text: "wrong", Style: terminal.Bad}, {Text: "plain"}}); err != nil {
		t.Error(err)
	}
	c.Sees("\x1b[1mhead\x1b[0m\x1b[K\r\n\x1b[31mwrong\x1b[0m\x1b[K\r\nplain\x1b[K")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, more := <-s.Keys(); more || s.Fault() != nil {
		t.Errorf("keys go on, %v", s.Fault())
	}
	c.WasGivenBack()
}

func TestScreenIsGivenBackAfterAPanic(t *testing.T) {
	c := terminaltest.New(t, 80, 24)
	c.Look()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		s, err := terminal.Open(c.TTY, c.TTY, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // what it does is looked at
		panic("in the middle")
	}()
	c.WasGivenBack()
}

func TestScreenWithoutColoursHasNone(t *testing.T) {
	c := terminaltest.New(t, 80, 24)
	c.Look()
	s, err := terminal.Open(c.TTY, c.TTY, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test ends
	if err := s.Draw([]terminal.Line{{Text: "head", Style: terminal.Title}, {Text: "wrong", Style: terminal.Bad}, {Text: "faint", Style: terminal.Faint}}); err != nil {
		t.Error(err)
	}
	c.Sees("head\x1b[K\r\nwrong\x1b[K\r\nfaint\x1b[K")
	if strings.Contains(c.Text(), "\x1b[1m") {
		t.Errorf("colours in %q", c.Text())
	}
}

func TestScreenWhoseTerminalIsGoneSaysSo(t *testing.T) {
	c := terminaltest.New(t, 80, 24)
	s, err := terminal.Open(c.TTY, c.TTY, false)
	if err != nil {
		t.Fatal(err)
	}
	c.Leave()
	if _, more := <-s.Keys(); more || s.Fault() == nil {
		t.Error("nothing was noticed")
	}
	if err := s.Close(); err == nil {
		t.Error("a terminal that is gone was given back")
	}
}

func TestOpenRefusesWhatIsNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if s, err := terminal.Open(r, w, true); err == nil || s != nil || errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, %v", s, err)
	}
}
