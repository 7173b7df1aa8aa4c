package backends

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HardenProcess keeps what lies in this process's memory, keys and PINs among
// it, in there: no core dump is made, and no process but one with
// CAP_SYS_PTRACE can read the memory or attach to it. It is for the first lines
// of main, and has to be called again in every program that is started: a new
// program begins without.
func HardenProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be switched off: %w", err)
	}
	// The limit does not hold where dumps go to a program (core(5)); this does.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("memory cannot be closed to other processes: %w", err)
	}
	return nil
}
