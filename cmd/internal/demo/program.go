package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	readyLimit = 30 * time.Second // for the server to listen
	stopLimit  = 10 * time.Second // for the server to end
)

// moduleRoot is the directory with go.mod that the working directory is in.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := output(exec.CommandContext(ctx, "go", "env", "GOMOD"))
	if err != nil {
		return "", err
	}
	if out == "" || out == os.DevNull {
		return "", errors.New("not inside the module; run it from a checkout of Jotsmith")
	}
	return filepath.Dir(out), nil
}

// build builds cmd/jotsmith. The version is left out: it would need git to
// trust the checkout.
func build(ctx context.Context, root, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "./cmd/jotsmith")
	cmd.Dir = root
	_, err := output(cmd)
	return err
}

// output runs a command and returns what it prints, without the last newline.
// The error holds what it printed on standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		name := strings.Join(append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...), " ")
		return "", fmt.Errorf("%s: %w\n%s", name, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// program is the built jotsmith and the address that its server has.
type program struct {
	path    string
	address string
}

// output runs one of the program's client commands.
func (p program) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.path, append(args, "--address", p.address)...)
	cmd.Env = environment()
	return output(cmd)
}

// environment is this process's without the settings of jotsmith's commands,
// which mean another server.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "JOTSMITH_") {
			env = append(env, entry)
		}
	}
	return env
}

// server is the running server, a child of this process.
type server struct {
	cmd    *exec.Cmd
	ready  chan struct{} // closed when it listens
	closed chan struct{} // closed when it has written its last line
	log    bytes.Buffer  // what it wrote; read after closed
}

// serve starts the server and waits until it listens. The caller stops it.
func (p program) serve(ctx context.Context, config string) (*server, error) {
	s := &server{
		cmd:    exec.CommandContext(ctx, p.path, "serve", "--config", config),
		ready:  make(chan struct{}),
		closed: make(chan struct{}),
	}
	s.cmd.Env = environment()
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopLimit
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go s.read(stderr)

	select {
	case <-s.ready:
		return s, nil
	case <-s.closed:
		err = errors.New("the server ended before it listened")
	case <-time.After(readyLimit):
		err = fmt.Errorf("the server does not listen after %s", readyLimit)
	}
	return nil, errors.Join(err, s.stop())
}

// read keeps the server's log and waits in it for the line that says that it
// listens. It ends with the server.
func (s *server) read(stderr io.Reader) {
	defer close(s.closed)
	lines := bufio.NewScanner(stderr)
	waiting := true
	for lines.Scan() {
		s.log.Write(lines.Bytes())
		s.log.WriteByte('\n')
		var line struct {
			Msg string `json:"msg"`
		}
		if waiting && json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			close(s.ready)
			waiting = false
		}
	}
}

// stop ends the server with SIGTERM, after stopLimit with SIGKILL. The error,
// when the server did not end well, holds its log.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	kill := time.AfterFunc(stopLimit, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	<-s.closed
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("jotsmith serve: %w\n%s", err, strings.TrimSpace(s.log.String()))
	}
	return nil
}
