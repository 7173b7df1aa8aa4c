package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	"github.com/jotsmith/jotsmith/cmd/internal/top"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func newTop() *cobra.Command {
	var o operator
	var interval time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a server in the terminal",
		Long: `Watch what a server does: how many tokens it mints, reuses and refuses each
second and how long that takes; its keys and key stores; the callers and profiles
that ask most; the newest failures; what is stopped, and what is still valid. It
goes on when the server is started anew.

Keys: q quits, s changes what callers and profiles are sorted by, p pauses.

--once looks twice, an interval apart, prints one frame and ends; -o json prints
it for a script, with the server's whole status. Colours are left out where
NO_COLOR is set.`,
		Example: `  jotsmith top
  jotsmith top --once -o json | jq .minted_per_second`,
		Args: cobra.NoArgs,
	}
	o.addFlags(cmd)
	cmd.Flags().DurationVarP(&interval, "interval", "i", 2*time.Second, "between two looks")
	cmd.Flags().BoolVar(&once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conn, err := o.dial()
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // the process ends
		if interval < 100*time.Millisecond || interval > time.Minute {
			return fail(exitUsage, errors.New("--interval is from 100ms to 1m"))
		}
		cfg := top.Config{Ask: o.asker(conn), Interval: interval, Now: time.Now}
		if once {
			return o.topOnce(cmd.Context(), cmd.OutOrStdout(), cfg)
		}
		if o.output == "json" {
			return fail(exitUsage, errors.New("-o json is for --once"))
		}
		return topLive(cmd.Context(), cfg)
	}
	return cmd
}

// asker asks for the status over a connection, which is tried at once each time:
// who waits for a server that starts anew wants to see it.
func (o *operator) asker(conn *grpc.ClientConn) top.Ask {
	admin := jotsmithv1.NewAdminServiceClient(conn)
	return func(ctx context.Context) (*jotsmithv1.StatusResponse, error) {
		conn.ResetConnectBackoff()
		status, err := admin.Status(ctx, &jotsmithv1.StatusRequest{})
		if err != nil {
			return nil, o.fault(err)
		}
		return status, nil
	}
}

// topOnce prints one frame.
func (o *operator) topOnce(ctx context.Context, w io.Writer, cfg top.Config) error {
	sample, rates, err := top.Once(ctx, cfg)
	switch {
	case ctx.Err() != nil:
		return fail(exitFailure, ctx.Err())
	case err != nil:
		return err // which the asker has given its exit code
	}
	if o.output == "json" {
		status, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(sample.Status)
		if err != nil {
			return fail(exitFailure, err)
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return fail(exitFailure, encoder.Encode(struct {
			top.Rates
			Status json.RawMessage `json:"status"`
		}{rates, status}))
	}
	frame := top.Frame{Sample: &sample, Rates: rates}
	for _, line := range frame.Lines() {
		if _, err := fmt.Fprintln(w, line.Text); err != nil {
			return fail(exitFailure, err)
		}
	}
	return nil
}

// topLive shows the server until somebody quits, and gives the terminal back as
// it was, however it ends.
func topLive(ctx context.Context, cfg top.Config) (err error) {
	if !terminal.IsTerminal(os.Stdin) || !terminal.IsTerminal(os.Stdout) {
		return fail(exitUsage, errors.New("standard input and output are no terminal; print one frame with --once"))
	}
	colours := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	screen, err := terminal.Open(os.Stdin, os.Stdout, colours)
	if err != nil {
		return fail(exitFailure, err)
	}
	defer func() { err = errors.Join(err, fail(exitFailure, screen.Close())) }()
	return fail(exitFailure, top.Live(ctx, cfg, screen))
}
