package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// An agent is a child of the benchmark that works without gRPC: what a key
// store costs in a process that does nothing else. It writes "ready" when it
// can begin; then it reads a duration a line, works so long and writes a
// sample. At the end of its input it closes the store and writes what is left.

// job is what an agent does.
type job struct {
	run   load
	close func() error
}

// remains is what an agent holds before it opens its store and after it has
// closed it.
type remains struct {
	Goroutines int `json:"goroutines"`
	FDs        int `json:"fds"`
}

func remainsNow() (remains, error) {
	// The last goroutines of a closed store end a moment after Close returns.
	time.Sleep(100 * time.Millisecond)
	f, err := footprintOf(os.Getpid())
	return remains{runtime.NumGoroutine(), f.fds}, err
}

// leftover is what an agent writes last.
type leftover struct {
	Before remains `json:"before"`
	After  remains `json:"after"`
}

// runAgent is the agent's side.
func runAgent(ctx context.Context, open func(context.Context) (job, error), in io.Reader, out io.Writer) error {
	before, err := remainsNow()
	if err != nil {
		return err
	}
	j, err := open(ctx)
	if err != nil {
		return err
	}
	answer := json.NewEncoder(out)
	fmt.Fprintln(out, ready)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return errors.Join(err, j.close())
		}
		s, err := j.run(ctx, d)
		if err != nil {
			return errors.Join(err, j.close())
		}
		if err := answer.Encode(s); err != nil {
			return errors.Join(err, j.close())
		}
	}
	if err := j.close(); err != nil {
		return err
	}
	after, err := remainsNow()
	if err != nil {
		return err
	}
	return answer.Encode(leftover{before, after})
}

// ready is what a child writes when it can begin.
const ready = "ready"

// piped is a child that is talked to over its standard input and output.
type piped struct {
	pid    int
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	stderr *strings.Builder // written by the child's reader, read once its output has ended
}

// startPiped starts a child and waits for its first line that starts with
// first. It returns the rest of this line.
func (b *benchmark) startPiped(ctx context.Context, first, path string, env []string, args ...string) (*piped, string, error) {
	cmd := b.command(ctx, path, env, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	if err := b.startChild(cmd); err != nil {
		return nil, "", err
	}
	p := &piped{pid: cmd.Process.Pid, stdin: stdin, lines: bufio.NewScanner(stdout), stderr: stderr}
	for p.lines.Scan() {
		if rest, ok := strings.CutPrefix(p.lines.Text(), first); ok {
			return p, strings.TrimSpace(rest), nil
		}
	}
	_ = cmd.Wait() // its words say more than its exit code; it also completes them
	b.children = b.children[:len(b.children)-1]
	return nil, "", fmt.Errorf("%s %s: %s", path, strings.Join(args, " "), strings.TrimSpace(stderr.String()))
}

// startAgent starts this program as an agent.
func (b *benchmark) startAgent(ctx context.Context, env []string, role string, args ...string) (*piped, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, _, err := b.startPiped(ctx, ready, self, env, append([]string{role}, args...)...)
	return p, err
}

// load has an agent work.
func (p *piped) load(_ context.Context, d time.Duration) (sample, error) {
	if _, err := fmt.Fprintln(p.stdin, d); err != nil {
		return sample{}, err
	}
	var s sample
	err := p.answer(&s)
	return s, err
}

// finish has an agent close its store and says what it held before and after.
func (p *piped) finish() (leftover, error) {
	var l leftover
	if err := p.stdin.Close(); err != nil {
		return l, err
	}
	err := p.answer(&l)
	return l, err
}

func (p *piped) answer(value any) error {
	if !p.lines.Scan() {
		return fmt.Errorf("process %d ended", p.pid)
	}
	return json.Unmarshal(p.lines.Bytes(), value)
}
