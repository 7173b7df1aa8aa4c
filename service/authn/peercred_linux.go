package authn

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// unknownID is (uid_t)-1, which no process has: what the kernel says of a
// socket without a peer.
const unknownID = 1<<32 - 1

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
	if cred.Uid == unknownID || cred.Gid == unknownID {
		return Unix{}, errors.New("SO_PEERCRED: the kernel does not know the peer")
	}
	return Unix{UID: cred.Uid, GID: cred.Gid}, nil
}
