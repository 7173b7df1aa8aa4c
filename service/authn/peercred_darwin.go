package authn

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerCredentials asks the kernel by LOCAL_PEERCRED (unix(4) of macOS). The
// first group of its list is the effective gid.
func peerCredentials(conn syscall.Conn) (Unix, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Unix{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Xucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	})
	if err != nil {
		return Unix{}, fmt.Errorf("peer credentials: %w", err)
	}
	if credErr != nil {
		return Unix{}, fmt.Errorf("LOCAL_PEERCRED: %w", credErr)
	}
	if cred.Ngroups < 1 {
		return Unix{}, errors.New("LOCAL_PEERCRED: no group")
	}
	return Unix{UID: cred.Uid, GID: cred.Groups[0]}, nil
}
