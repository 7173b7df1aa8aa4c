//go:build unix

package backendtest

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
)

// killVariable tells a test in a process of its own at which report to die.
const killVariable = "JOTSMITH_TEST_KILL_AT"

// Victim returns, in the process that [KilledAt] started, a Report that kills
// the process with SIGKILL at the report that it was started for. In any other
// process it returns nil.
func Victim() func(backends.Step, string) {
	left, err := strconv.Atoi(os.Getenv(killVariable))
	if err != nil {
		return nil
	}
	return func(backends.Step, string) {
		if left--; left == 0 {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {} // it is on its way
		}
	}
}

// KilledAt runs the running test alone in a process of its own, which is killed
// at its n-th report, counted from 1. It returns false when the test ended well
// before that.
func KilledAt(t *testing.T, n int, env ...string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(append(os.Environ(), env...), killVariable+"="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if status, isStatus := exit.Sys().(syscall.WaitStatus); !ok || !isStatus || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process to be killed ended with %v:\n%s", err, out)
	}
	return true
}
