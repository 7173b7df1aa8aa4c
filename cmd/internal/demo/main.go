// Demo shows Jotsmith at work, with nothing needed but Go: it builds the
// program, makes a key, starts the server with it, has the command line mint an
// App Store Connect token over gRPC, and verifies the token with go-jose
// against the key that the server publishes. `make demo` runs it.
//
// Everything but the program built lies in a temporary directory that is gone
// afterwards. The exit code is 0 only if every step succeeded.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever reads our output may leave before its end, as head does. A write
	// then fails, and everything is still put away.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := 0
	if err := start(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		code = 1
	}
	stop()
	os.Exit(code)
}

func start(ctx context.Context) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	d := demo{root: root, binary: filepath.Join(root, "bin", "jotsmith"), out: newPage(os.Stdout)}
	return d.run(ctx)
}
