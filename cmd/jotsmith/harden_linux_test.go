package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/servicetest"
)

// confined is a real server that runs as an ordinary user, in a directory of
// his. Root's own processes could look into anything.
type confined struct {
	dir  string
	uid  int
	cmd  *exec.Cmd
	text *servicetest.Log // what it has written
}

// confine prepares a directory with this program in it.
func confine(t *testing.T) *confined {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &confined{dir: dir, uid: os.Getuid(), text: servicetest.NewLog(t)}
	if c.uid == 0 {
		c.uid = 65534
	}
	self, err := os.Open("/proc/self/exe") // from where another user could not run it
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	program, err := os.OpenFile(filepath.Join(dir, "jotsmith"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(program, self); err != nil {
		t.Fatal(err)
	}
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// command is a command to be run as the user.
func (c *confined) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)}}
	}
	return cmd
}

// serve runs the server until the test ends, in a shell that would let it dump
// core, and waits until it answers.
func (c *confined) serve(t *testing.T, backends string, env ...string) {
	t.Helper()
	text := fmt.Sprintf(`listeners: [{unix: {path: %s/s}}]
%s
profiles: {p: {key: k, preset: jwt, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
grants: [{name: g, callers: [{unix: {uid: %d}}], profiles: [p]}]
`, c.dir, backends, c.uid)
	if err := os.WriteFile(filepath.Join(c.dir, "jotsmith.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(c.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || os.Getuid() != 0 {
			return err
		}
		return os.Lchown(path, c.uid, c.uid)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = c.command(t.Context(), "/bin/sh", "-c", `ulimit -c unlimited; exec ./jotsmith serve --config jotsmith.yaml`)
	c.cmd.Env = append(append(os.Environ(), "GOTRACEBACK=crash", "HOME="+c.dir, "TMPDIR="+c.dir), env...)
	c.cmd.Stdout, c.cmd.Stderr = c.text, c.text
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(c.dir, "s"))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v\n%s", err, c.text)
		}
	}
}

// mayLookInto says whether another process of the same user can read the memory
// of a process, or what it was started with.
func (c *confined) mayLookInto(t *testing.T, pid int) bool {
	t.Helper()
	environ, err := c.command(t.Context(), "cat", fmt.Sprintf("/proc/%d/environ", pid)).Output()
	memory := c.command(t.Context(), "sh", "-c", fmt.Sprintf("exec 3</proc/%d/mem", pid)).Run()
	if (err == nil) != (memory == nil) {
		t.Errorf("environ: %v, mem: %v", err, memory)
	}
	return err == nil && len(environ) > 0
}

// wantHardened fails unless a process keeps its memory to itself.
func (c *confined) wantHardened(t *testing.T, pid int) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("it may dump core:\n%s", limits)
	}
	if c.mayLookInto(t, pid) {
		t.Error("another process of the user can read its memory")
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/coredump_filter", pid))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		t.Errorf("what it dumps is for uid %d to say", owner)
	}
}

func (c *confined) wantToken(t *testing.T) {
	t.Helper()
	out, err := c.command(t.Context(), "./jotsmith", "token", "--profile", "p", "--address", "unix://"+c.dir+"/s").CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("eyJ")) {
		t.Errorf("%v\n%s\n%s", err, out, c.text)
	}
}

func TestServersMemoryIsClosedToOtherProcesses(t *testing.T) {
	c := confine(t)
	if err := os.Mkdir(filepath.Join(c.dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	(&reloadable{dir: filepath.Join(c.dir, "keys")}).newKey(t, "k.pem")
	c.serve(t, fmt.Sprintf(`backends: {files: {uri: "file:%s/keys"}}
keys: {k: {backend: files, id: k.pem, kid: k-1}}`, c.dir))
	c.wantHardened(t, c.cmd.Process.Pid)
	c.wantToken(t)

	// The same look at a process that does nothing for itself.
	open := c.command(t.Context(), "sleep", "60")
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Process.Kill(); _ = open.Wait() }()
	for deadline := time.Now().Add(10 * time.Second); !c.mayLookInto(t, open.Process.Pid); { // until it runs
		if time.Now().After(deadline) {
			t.Fatal("the test could not have seen into an open process either")
		}
	}

	if err := c.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // which fails, as the next lines want
	status := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGABRT || status.CoreDump() {
		t.Errorf("it ended with %v, having dumped core: %v", c.cmd.ProcessState, status.CoreDump())
	}
	if cores, err := filepath.Glob(filepath.Join(c.dir, "core*")); err != nil || len(cores) > 0 {
		t.Errorf("left behind: %v, %v", cores, err)
	}
}

// The module's process is this program again, which has to close its memory by
// itself, and is found by a server that has closed its own.
func TestModulesProcessIsClosedToOtherProcesses(t *testing.T) {
	c := confine(t)
	made, err := exec.CommandContext(t.Context(), "../../deploy/dev/hsm.sh", filepath.Join(c.dir, "hsm")).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, conf, _ := strings.Cut(string(made), "export ")
	conf, _, _ = strings.Cut(conf, "\n")
	_, lines, _ := strings.Cut(string(made), "backends:\n")
	lines, _, _ = strings.Cut(lines, "keys:\n")
	lines = "backends:\n" + strings.Replace(lines, "?module-path", "?isolate=true&module-path", 1)
	c.serve(t, lines+`keys: {k: {backend: hsm, id: "object=my-key", kid: k-1}}`, strings.ReplaceAll(conf, `"`, ""))
	c.wantToken(t)
	pids := regexp.MustCompile(`the module's process started".*"pid":(\d+)`).FindStringSubmatch(c.text.String())
	if pids == nil {
		t.Fatalf("no process of the module:\n%s", c.text)
	}
	pid, err := strconv.Atoi(pids[1])
	if err != nil {
		t.Fatal(err)
	}
	c.wantHardened(t, c.cmd.Process.Pid)
	c.wantHardened(t, pid)
}
