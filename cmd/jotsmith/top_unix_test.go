//go:build unix

package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal/terminaltest"
)

// person sits before a terminal in which the program runs.
type person struct {
	*terminaltest.Console
	t   *testing.T
	cmd *exec.Cmd
}

// atTerminal runs the program in a terminal of 80 x 24.
func atTerminal(t *testing.T, env []string, args ...string) *person {
	t.Helper()
	// The test's own binary is the program, where it has its name.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "jotsmith")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	p := &person{terminaltest.New(t, 80, 24), t, exec.CommandContext(t.Context(), program, args...)}
	p.cmd.Env = append(os.Environ(), append([]string{"TERM=xterm"}, env...)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.TTY, p.TTY, p.TTY
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it has ended, unless the test failed
	p.Look()
	return p
}

// leaves waits for the end, which must be a good one, with the terminal as it
// was.
func (p *person) leaves() {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("it ended with %v:\n%q", err, p.Text())
	}
	p.WasGivenBack()
}

// operated is a server with a socket for operators.
func operated(t *testing.T) *reloadable { return startReloadable(t, operatedConfig) }

func operatedConfig(r *reloadable) string {
	return r.config("first", fmt.Sprintf("admin: {path: %s/admin, state_file: %s/stopped.json}\n", r.dir, r.dir))
}

func TestTopInATerminal(t *testing.T) {
	r := operated(t)
	p := atTerminal(t, nil, "top", "--admin", "unix://"+r.dir+"/admin", "--interval", "100ms")
	p.Sees("q quit   s sort (by rate)   p pause")
	p.Sees("k    kid-1  files    can sign")
	p.Sees("\x1b[1mjotsmith ") // in colours
	for range 20 {
		if _, err := r.mint(); err != nil {
			t.Fatal(err)
		}
	}
	p.Sees(" minted, 0 reused, 0 failed")
	p.Sees("svc      k")
	for line := range strings.SplitSeq(p.Screen(), "\r\n") {
		if len(line) > 80+len("\x1b[1m\x1b[0m\x1b[K") {
			t.Errorf("%q is wider than the screen", line)
		}
	}
	p.Press("\x1b[Bs")
	p.Sees("s sort (by total)")
	p.Press("p")
	p.Sees("p go on")
	p.Press("p")
	p.Sees("p pause")
	p.Resize(60, 10)
	p.Until("ten lines", func() bool { return strings.Count(p.Screen(), "\r\n") == 9 })
	p.Press("q")
	p.leaves()
}

func TestTopGoesOnWhenTheServerIsStartedAnew(t *testing.T) {
	r := operated(t)
	file := filepath.Join(r.dir, "other.yaml")
	text := strings.NewReplacer(r.dir+"/s}", r.dir+"/other}", r.dir+"/admin", r.dir+"/other.admin").Replace(operatedConfig(r))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := atTerminal(t, nil, "top", "--admin", "unix://"+r.dir+"/other.admin", "--interval", "100ms")
	p.Sees("! no answer since ") // it is not there yet
	for range 2 {
		_, stop := runFile(t, file, slog.New(slog.DiscardHandler))
		p.Sees("can sign")
		p.Until("an answer", func() bool { return !strings.Contains(p.Screen(), "no answer") })
		stop()
		p.Sees("! no answer since ")
		p.Sees("can sign") // what was known last
	}
	p.Press("q")
	p.leaves()
}

func TestTopGivesTheTerminalBackHoweverItEnds(t *testing.T) {
	r := operated(t)
	for name, end := range map[string]func(*person){
		"Ctrl-C":  func(p *person) { p.Press("\x03") },
		"SIGTERM": func(p *person) { _ = p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGINT":  func(p *person) { _ = p.cmd.Process.Signal(os.Interrupt) },
	} {
		t.Run(name, func(t *testing.T) {
			p := atTerminal(t, []string{"NO_COLOR=1"}, "top", "--admin", "unix://"+r.dir+"/admin")
			p.Sees("q quit")
			if strings.Contains(p.Text(), "\x1b[1m") {
				t.Errorf("colours in %q", p.Text())
			}
			end(p)
			p.leaves()
		})
	}
}
