//go:build cgo && unix

package pkcs11

import (
	"fmt"
	"os"
	"testing"
)

// sharedStore names the environment variable by which a test that runs in a
// process of its own gets the store of the process that started it.
const sharedStore = "JOTSMITH_TEST_SHARED_SOFTHSM"

// TestMain makes one SoftHSM store for the process: SoftHSM reads its
// configuration once, from the environment of the first C_Initialize.
//
// It is also the child process of the backends with isolate=true.
func TestMain(m *testing.M) {
	RunChildIfAsked()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir := os.Getenv(sharedStore)
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pkcs11-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
	}
	os.Setenv("SOFTHSM2_CONF", dir+"/softhsm2.conf")
	os.Setenv(storeDir, dir)
	os.Setenv("P11_KIT_SERVER_ADDRESS", "unix:path="+dir+"/p11-kit.socket")
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // the children's exits
	return m.Run()
}
