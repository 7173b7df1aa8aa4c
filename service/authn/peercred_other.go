//go:build !linux && !darwin

package authn

import (
	"errors"
	"syscall"
)

// peerCredentials fails: without the kernel's word nobody is known.
func peerCredentials(syscall.Conn) (Unix, error) {
	return Unix{}, errors.New("this system does not say who is at the other end of a Unix socket; use a tcp listener")
}
