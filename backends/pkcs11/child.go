//go:build cgo && unix

package pkcs11

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// child is a process that holds the module, seen from its parent.
type child struct {
	command *exec.Cmd
	in      *os.File // answers
	out     *os.File // requests
	output  *os.File // its standard output and error
	sends   chan *message
	gone    chan struct{} // closed when no more answers come
	wg      sync.WaitGroup
	heard   atomic.Int64 // when the last answer to a ping came, in Unix nanoseconds
	hangs   atomic.Pointer[string]

	mu      sync.Mutex
	last    uint64
	pending map[uint64]chan<- *message
}

// errGone says that the child ended before it answered.
var errGone = errors.New("the module's process ended")

// listener takes what comes from a child. Its methods must not block.
type listener interface {
	heard(context.Context, *child, *message) // said unasked
	wrote(line string)                       // a line on standard output or error
	ended(*child)                            // no more comes
}

// startChild starts the process. The calling thread must live as long as the
// child; see childAttributes.
func startChild(ctx context.Context, l listener) (*child, error) {
	program, err := ownProgram()
	if err != nil {
		return nil, err
	}
	requests, out, err1 := os.Pipe()
	in, answers, err2 := os.Pipe()
	output, text, err3 := os.Pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Join(err, closeAll(requests, out, in, answers, output, text))
	}
	c := &child{
		command: &exec.Cmd{
			Path: program, Args: []string{os.Args[0], childArgument},
			// A module may write what it likes; standard output is the program's.
			Stdout: text, Stderr: text,
			ExtraFiles:  []*os.File{requests, answers}, // childReads, childWrites
			SysProcAttr: childAttributes(),
		},
		in: in, out: out, output: output,
		sends:   make(chan *message, 64),
		gone:    make(chan struct{}),
		pending: map[uint64]chan<- *message{},
	}
	c.heard.Store(time.Now().UnixNano())
	err = c.command.Start()
	_ = closeAll(requests, answers, text) // the child's ends
	if err != nil {
		return nil, errors.Join(err, closeAll(in, out, output))
	}
	c.wg.Go(c.write)
	c.wg.Go(func() { c.overhear(l) })
	c.wg.Go(func() {
		c.read(ctx, l)
		close(c.gone)
		l.ended(c)
	})
	return c, nil
}

func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// overhear passes on what the module writes. Of a crash it passes on the first
// line alone: the stacks below it show what was being signed, and how long the
// PIN is.
func (c *child) overhear(l listener) {
	crashed := false
	scanner := bufio.NewScanner(c.output)
	for scanner.Scan() {
		line := scanner.Text()
		if !crashed {
			l.wrote(line)
		}
		crashed = crashed || strings.HasPrefix(line, "SIG") || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
	}
	_, _ = io.Copy(io.Discard, c.output) // after a line too long for the scanner
}

func (c *child) write() {
	for {
		select {
		case m := <-c.sends:
			if send(c.out, m) != nil {
				_ = c.command.Process.Kill() // a frame may be cut: nothing more makes sense
				return
			}
		case <-c.gone:
			return
		}
	}
}

func (c *child) read(ctx context.Context, l listener) {
	reader := bufio.NewReader(c.in)
	for {
		m, err := receive(reader)
		if err != nil {
			return
		}
		switch m.Op {
		case opOpen, opDescribe, opSign, opPing:
			c.mu.Lock()
			answer := c.pending[m.ID]
			delete(c.pending, m.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		default:
			l.heard(ctx, c, m)
		}
	}
}

// ask sends a request and waits for the answer, until ctx ends or the child
// does.
func (c *child) ask(ctx context.Context, m *message) (*message, error) {
	answer := make(chan *message, 1)
	c.mu.Lock()
	c.last++
	m.ID = c.last
	c.pending[m.ID] = answer
	c.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = max(time.Until(deadline), 1)
	}
	if err := c.tell(ctx, m); err != nil {
		c.forget(m.ID)
		return nil, err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-c.gone:
		return nil, errGone
	case <-ctx.Done():
		c.forget(m.ID)
		select {
		case c.sends <- &message{Op: opCancel, ID: m.ID}:
		default: // its timeout will do
		}
		return nil, ctx.Err()
	}
}

// tell sends a message that has no answer.
func (c *child) tell(ctx context.Context, m *message) error {
	select {
	case c.sends <- m:
		return nil
	case <-c.gone:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *child) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// watch asks how the child is and kills it if it hangs.
func (c *child) watch(ctx context.Context, p pace, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, p.watch)
	defer cancel()
	answer, err := c.ask(ctx, &message{Op: opPing})
	if err == nil {
		c.heard.Store(time.Now().UnixNano())
	}
	silent := time.Since(time.Unix(0, c.heard.Load()))
	switch {
	case errors.Is(err, errGone):
		return
	case silent > p.hangs:
		c.kill(ctx, log, fmt.Sprintf("it has not answered for %v", silent.Round(time.Millisecond)))
	case answer != nil && answer.Calling > p.hangs:
		c.kill(ctx, log, fmt.Sprintf("a call has not returned from the module for %v", answer.Calling.Round(time.Millisecond)))
	case answer != nil && answer.Searching > p.searchHangs:
		c.kill(ctx, log, fmt.Sprintf("the module has not been initialised for %v", answer.Searching.Round(time.Millisecond)))
	}
}

func (c *child) kill(ctx context.Context, log *slog.Logger, why string) {
	log.WarnContext(ctx, "killing the module's process", "pid", c.command.Process.Pid, "reason", why)
	c.hangs.Store(&why)
	_ = c.command.Process.Kill()
}

// end closes the pipe, which ends the child, kills it if it does not within the
// grace, and frees what it held.
func (c *child) end(grace time.Duration) error {
	_ = c.out.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.gone:
	case <-timer.C:
	}
	_ = c.command.Process.Kill() // it may be dead: then nothing happens
	err := c.command.Wait()
	_ = closeAll(c.in, c.output) // a process that the module started may hold the other ends
	c.wg.Wait()
	if why := c.hangs.Load(); why != nil {
		return errors.New(*why)
	}
	return err
}
