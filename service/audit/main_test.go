package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// childLog names the log that the test binary, run as a child, is to write.
const childLog = "AUDIT_TEST_LOG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childLog); path != "" {
		appendUntilKilled(path, Mode(os.Getenv("AUDIT_TEST_SYNC")))
	}
	os.Exit(m.Run())
}

// appendUntilKilled mints from 16 goroutines and writes to standard output each
// record's number when it is confirmed.
func appendUntilKilled(path string, mode Mode) {
	l, err := Open(Config{Path: path, Sync: mode, MaxBytes: 64 << 10})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				token := fmt.Sprintf("%s-%d-%d", filepath.Base(path), g, i)
				p, err := l.Begin(noContext(), anIntent())
				if err == nil {
					err = p.End(noContext(), aResult(token))
				}
				if err != nil {
					fmt.Fprintln(os.Stdout, "error", err)
					os.Exit(1)
				}
				fmt.Fprintf(os.Stdout, "ok %d %x\n", p.Seq(), aResult(token).Digest)
			}
		})
	}
	wg.Wait()
}
