// Bench measures Jotsmith against the limits of the machine that it runs on:
// the real server as a process of its own, over real gRPC, beside the bare
// signature that it cannot do without. `make bench` runs it; docs/performance.md
// shows a run and says how the figures are made.
//
//	go run ./cmd/internal/bench                            about ten minutes
//	go run ./cmd/internal/bench -quick                     a minute, and less to rely on
//	go run ./cmd/internal/bench -only 'Unix|SoftHSM'       the rows whose names match
//	go run ./cmd/internal/bench -write docs/performance.md put the table into the document
//
// All load stays on this machine: Unix sockets and the loopback interface.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever reads our output may leave before its end, as head does. A write
	// then fails, and everything is still put away.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := 0
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		code = 1
	}
	stop()
	os.Exit(code)
}

// start runs the benchmark, or the part of it that a child was started for.
func start(ctx context.Context, args []string) error {
	if len(args) > 0 && isRole(args[0]) {
		return runRole(ctx, args[0], args[1:])
	}
	o := options{}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.BoolVar(&o.quick, "quick", false, "fewer and shorter samples, and a tenth of the tokens")
	only := flags.String("only", "", "measure only the rows whose names match this regular expression")
	flags.IntVar(&o.rounds, "rounds", 9, "samples of each row")
	flags.DurationVar(&o.slice, "slice", 400*time.Millisecond, "length of a sample")
	flags.IntVar(&o.tokens, "tokens", 1_000_000, "tokens of the memory run; 0 leaves it out")
	flags.DurationVar(&o.overload, "overload", time.Minute, "length of each run under ten times the load; 0 leaves them out")
	flags.BoolVar(&o.boring, "boring", true, "measure a build with BoringCrypto too, which takes a minute to make")
	flags.StringVar(&o.write, "write", "", "put the tables into this Markdown file, between its bench marks")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if o.quick {
		o.rounds, o.slice, o.tokens = min(o.rounds, 3), min(o.slice, 150*time.Millisecond), min(o.tokens, 100_000)
		o.overload = min(o.overload, 3*time.Second)
	}
	return run(ctx, o, os.Stdout, os.Stderr)
}
