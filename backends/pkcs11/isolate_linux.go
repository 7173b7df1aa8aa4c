//go:build cgo

package pkcs11

import "syscall"

// childAttributes puts the child into a process group of its own, out of reach
// of the terminal's signals, and has the kernel kill it should this process die.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// ownProgram is the program that runs, even after its file was replaced.
func ownProgram() (string, error) { return "/proc/self/exe", nil }
