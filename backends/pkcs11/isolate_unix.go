//go:build cgo && unix && !linux

package pkcs11

import (
	"os"
	"syscall"
)

// childAttributes puts the child into a process group of its own, out of reach
// of the terminal's signals. It ends when its pipe does.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func ownProgram() (string, error) { return os.Executable() }
