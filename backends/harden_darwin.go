package backends

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HardenProcess keeps what lies in this process's memory, keys and PINs among
// it, in there: no core dump is made, and no debugger can attach. It is for the
// first lines of main, and has to be called again in every program that is
// started. A program that runs in a debugger already is ended by it.
func HardenProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be switched off: %w", err)
	}
	if err := unix.PtraceDenyAttach(); err != nil {
		return fmt.Errorf("memory cannot be closed to debuggers: %w", err)
	}
	return nil
}
