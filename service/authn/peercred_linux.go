package authn

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerCredentials asks the kernel by SO_PEERCRED (unix(7)).
func peerCredentials(conn syscall.Conn) (Unix, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Unix{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return Unix{}, fmt.Errorf("peer credentials: %w", err)
	}
	if credErr != nil {
		return Unix{}, fmt.Errorf("SO_PEERCRED: %w", credErr)
	}
	return Unix{UID: cred.Uid, GID: cred.Gid}, nil
}
