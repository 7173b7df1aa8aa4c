//go:build unix

// Package terminaltest gives a test a terminal of which it is the keyboard and
// the eyes.
package terminaltest

import (
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/term"
)

// Console is a terminal, and the person before it.
type Console struct {
	TTY *os.File // the terminal, as a program has it

	t      testing.TB
	person *os.File
	before *term.State

	mu   sync.Mutex
	seen strings.Builder
	look sync.WaitGroup
}

// New returns a terminal of a size, at which nobody looks yet. It ends with the
// test.
func New(t testing.TB, columns, rows uint16) *Console {
	t.Helper()
	person, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := &Console{TTY: tty, t: t, person: person}
	t.Cleanup(func() {
		_ = tty.Close()
		c.look.Wait()
		_ = person.Close()
	})
	c.Resize(columns, rows)
	c.before = c.state()
	return c
}

// Look has everything that is shown kept, until nobody has the terminal open.
func (c *Console) Look() {
	c.look.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.person.Read(buf)
			c.mu.Lock()
			c.seen.Write(buf[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
}

// Leave closes the window. The console must not be looked at.
func (c *Console) Leave() { _ = c.person.Close() }

// Text returns all that was shown.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

// Screen returns what terminal.Screen drew last.
func (c *Console) Screen() string {
	text := c.Text()
	end := strings.LastIndex(text, "\x1b[J")
	if end < 0 {
		return text
	}
	return text[strings.LastIndex(text[:end], "\x1b[H")+len("\x1b[H") : end]
}

// Until waits until something is so, and fails the test where it never is.
func (c *Console) Until(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s; the screen is:\n%s\nof %q", what, c.Screen(), c.Text())
		}
	}
}

// Sees waits until a text stands on the screen.
func (c *Console) Sees(text string) {
	c.t.Helper()
	c.Until(text, func() bool { return strings.Contains(c.Screen(), text) })
}

// Press presses keys.
func (c *Console) Press(keys string) {
	c.t.Helper()
	if _, err := c.person.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// Resize gives the terminal another size.
func (c *Console) Resize(columns, rows uint16) {
	c.t.Helper()
	if err := pty.Setsize(c.person, &pty.Winsize{Rows: rows, Cols: columns}); err != nil {
		c.t.Fatal(err)
	}
}

// IsAsBefore says whether the terminal has the settings that it began with, and
// how they differ.
func (c *Console) IsAsBefore() (same bool, diff string) {
	c.t.Helper()
	diff = cmp.Diff(c.before, c.state(), cmp.Exporter(func(reflect.Type) bool { return true }))
	return diff == "", diff
}

// WasGivenBack fails the test unless the terminal is as it was, and the screen of
// before is on it.
func (c *Console) WasGivenBack() {
	c.t.Helper()
	c.Until("the screen of before", func() bool { return strings.HasSuffix(c.Text(), "\x1b[?25h\x1b[?1049l") })
	if same, diff := c.IsAsBefore(); !same {
		c.t.Errorf("the terminal is not as it was:\n%s", diff)
	}
}

func (c *Console) state() *term.State {
	c.t.Helper()
	state, err := term.GetState(int(c.TTY.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}
