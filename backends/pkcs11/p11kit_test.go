//go:build cgo && unix

package pkcs11

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// p11Kit serves the SoftHSM token over a socket: an HSM that can be lost. When
// its helper process dies, every call of the client module fails with
// CKR_DEVICE_ERROR until C_Finalize and C_Initialize.
type p11Kit struct {
	hsm    *softHSM
	client string
	server *exec.Cmd
}

func newP11Kit(t testing.TB) *p11Kit {
	t.Helper()
	k := &p11Kit{hsm: newSoftHSM(t), client: findModule(t, "p11-kit-modules", "pkcs11/p11-kit-client.so")}
	if _, err := exec.LookPath("p11-kit"); err != nil {
		t.Fatal("p11-kit is missing: apt-get install p11-kit")
	}
	k.start(t)
	t.Cleanup(func() { k.kill(t) })
	return k
}

func (k *p11Kit) start(t testing.TB) {
	t.Helper()
	socket := filepath.Join(os.Getenv(storeDir), "p11-kit.socket")
	_ = os.Remove(socket) // left over by the last server
	k.server = exec.Command("p11-kit", "server", "--foreground", "--sh", "--provider", k.hsm.module, "--name", socket, "pkcs11:")
	out, err := k.server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.server.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("p11-kit server said %q, %v", line, err)
	}
}

// kill ends the server and its helpers.
func (k *p11Kit) kill(t testing.TB) {
	t.Helper()
	if k.server == nil {
		return
	}
	helpers := k.helpers(t)
	_ = k.server.Process.Kill()
	_ = k.server.Wait()
	for _, pid := range helpers {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	k.server = nil
}

// helpers are the server's child processes, one a connection.
func (k *p11Kit) helpers(t testing.TB) []int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(k.server.Process.Pid)).Output()
	if err != nil && len(out) > 0 {
		t.Fatal(err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func TestContractThroughP11Kit(t *testing.T) {
	k := newP11Kit(t)
	backendtest.Run(t, backendtest.Harness{
		Open:       opener(k.hsm.uri(k.client)),
		Keys:       k.hsm.keys,
		Unknown:    "id=%FF",
		Malformed:  malformed(),
		WrongCurve: "id=%03",
		Outage: func(t *testing.T) func() {
			k.kill(t)
			return func() { k.start(t) }
		},
		Deviations: map[backendtest.Case]string{backendtest.Disabled: noDisabledState},
		Secrets:    []string{userPIN, soPIN},
	})
}

func TestLostDeviceIsMendedWithinTheCall(t *testing.T) {
	k := newP11Kit(t)
	b := openQuick(t, k.hsm.uri(k.client))
	for range 3 {
		if _, err := b.Sign(t.Context(), "object=one", backends.Digest{1}); err != nil {
			t.Fatalf("Sign: %v", err)
		}
		helpers := k.helpers(t)
		if len(helpers) == 0 {
			t.Fatal("the server has no helper process to kill")
		}
		for _, pid := range helpers {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOpenWithoutTheDeviceSucceedsAndHeals(t *testing.T) {
	k := newP11Kit(t)
	k.kill(t)
	b := openQuick(t, k.hsm.uri(k.client))
	if _, err := b.Describe(t.Context(), "object=one"); !isUnavailable(err) {
		t.Fatalf("Describe without the device = %v, want ErrUnavailable and RetryAfter", err)
	}
	k.start(t)
	eventually(t, 5*time.Second, func() error {
		_, err := b.Describe(t.Context(), "object=one")
		return err
	})
}
