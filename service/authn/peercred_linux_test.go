package authn

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// connectAs connects from a thread that has taken these effective ids. It takes
// root to be anybody else.
func connectAs(t *testing.T, name string, uid, gid int) {
	t.Helper()
	fd := make(chan int)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			close(fd)
			return
		}
		// Of this thread alone, which is what unix.Setresuid would not do.
		const same = ^uintptr(0)
		_, _, groupErr := unix.RawSyscall(unix.SYS_SETRESGID, same, uintptr(gid), same)
		_, _, userErr := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same)
		err = unix.Connect(s, &unix.SockaddrUnix{Name: name})
		if groupErr != 0 || userErr != 0 || err != nil {
			t.Error(groupErr, userErr, err)
		}
		fd <- s
	}()
	s, ok := <-fd
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() { _ = unix.Close(s) })
}

func TestPeerCredentialsAreThoseOfTheTimeOfConnecting(t *testing.T) {
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 12345, 12346
	}
	// An abstract socket: no directory keeps another user out.
	name := "@jotsmith-test-" + strconv.Itoa(os.Getpid())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to lose
	connectAs(t, name, uid, gid)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing to lose
	_, info, err := UnixCredentials().ServerHandshake(conn)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := info.(identity).caller.Unix()
	if want := (Unix{UID: uint32(uid), GID: uint32(gid)}); !ok || got != want { //nolint:gosec // ids are 32 bits
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The kernel says -1 of a socket without a peer; a grant could name that
// number.
func TestPeerCredentialsRefuseASocketWithoutAPeer(t *testing.T) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing to lose
	if cred, err := peerCredentials(conn); err == nil {
		t.Errorf("%+v", cred)
	}
}
