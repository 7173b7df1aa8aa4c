package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/cmd/internal/sizing"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// benchFlags are the flags of `jotsmith bench`.
type benchFlags struct {
	client      client
	profile     string
	claims      string
	callers     int
	connections int
	duration    time.Duration
	rate        float64
	timeout     time.Duration
	output      string
}

const (
	mostCallers     = 16384
	mostConnections = 1024
)

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench --profile P",
		Short: "See how many tokens a server bears, and how long each takes",
		Long: `Ask a server for tokens of a profile again and again, and print how many there
were in a second and how long each was waited for, with a histogram.

The tokens are real: each counts in quotas, is recorded in the audit log and is
signed by the profile's key, which costs money where the key is in a cloud. None is
printed. A profile that keeps its tokens hands out the same one, and then it is the
way to the server that is measured; ask with claims of your own, or take a profile
for the purpose.

Callers ask again as soon as they are answered. With --rate so many calls begin in a
second, answered or not, as those of independent programs do; what a call is late
because all callers wait is part of its latency.

Ctrl-C ends it early. Where there is no token at all the exit code is that of the
first failure.`,
		Example: `  jotsmith bench --profile ci --callers 64 --duration 30s
  jotsmith bench --profile ci --callers 64 --rate 500
  jotsmith bench --profile ci --claims '{"sub":"load-test"}' --address jotsmith.example.org:8443 \
    --tls-ca ca.pem --tls-cert me.pem --tls-key me.key -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.profile, "profile", "p", "", "the profile, as the server's configuration names it")
	flags.StringVar(&f.claims, "claims", "", "the claims as a JSON object, @FILE, or @- for standard input")
	flags.IntVar(&f.callers, "callers", 16, "how many ask at the same time")
	flags.IntVar(&f.connections, "connections", 1, "how many connections they share; the server takes 128 calls on each if it is not told otherwise")
	flags.DurationVar(&f.duration, "duration", 10*time.Second, "how long they ask")
	flags.Float64Var(&f.rate, "rate", 0, "how many calls begin in a second; 0 asks again when answered")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long one call may take")
	flags.StringVarP(&f.output, "output", "o", "text", "text, or json for a program")
	f.client.addFlags(flags)
	_ = cmd.MarkFlagRequired("profile") // the flag exists
	return cmd
}

func (f *benchFlags) check() error {
	switch {
	case f.output != "text" && f.output != "json":
		return fmt.Errorf("--output is text or json, not %q", f.output)
	case f.callers < 1 || f.callers > mostCallers:
		return fmt.Errorf("--callers is 1 to %d", mostCallers)
	case f.connections < 1 || f.connections > mostConnections:
		return fmt.Errorf("--connections is 1 to %d", mostConnections)
	case f.duration <= 0 || f.timeout <= 0:
		return errors.New("--duration and --timeout are more than nothing")
	case f.rate < 0 || f.rate > 1e6:
		return errors.New("--rate is 0 to 1000000")
	}
	return nil
}

func (f *benchFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	if err := f.check(); err != nil {
		return fail(exitUsage, err)
	}
	claims, err := readClaims(f.claims, stdin)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("--claims: %w", err))
	}
	conns := make([]*grpc.ClientConn, f.connections) // which end with the process
	for i := range conns {
		if conns[i], err = f.client.dial(); err != nil {
			return err
		}
	}
	req := &jotsmithv1.MintTokenRequest{Profile: f.profile, Claims: claims}
	ask := func(ctx context.Context, caller int) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		resp, err := jotsmithv1.NewTokenServiceClient(conns[caller%len(conns)]).MintToken(ctx, req)
		return resp.GetReused(), err
	}
	for i := range conns { // what is wrong is said at once, and connecting is not measured
		if _, err := ask(ctx, i); err != nil {
			return f.client.fault(err)
		}
	}
	if f.output == "text" {
		fmt.Fprintf(stderr, "%s for tokens of %s for %s\n", f.words(), f.profile, f.duration)
	}
	result := sizing.Load{Callers: f.callers, Duration: f.duration, Rate: f.rate, Ask: ask, Name: nameOfFailure}.
		Run(ctx, func(tokens int64, elapsed time.Duration) {
			if f.output == "text" {
				fmt.Fprintf(stderr, "%s: %d tokens\n", elapsed.Round(time.Second), tokens)
			}
		})
	if f.output == "json" {
		err = printJSON(stdout, result.Figures())
	} else {
		err = result.Print(stdout)
	}
	if failed := result.Err(); failed != nil {
		return f.client.fault(failed)
	}
	return fail(exitFailure, err)
}

func (f *benchFlags) words() string {
	asks := fmt.Sprintf("callers: %d, connections: %d, asking", f.callers, f.connections)
	if f.rate > 0 {
		asks += fmt.Sprintf(" %v times a second", f.rate)
	}
	return asks
}

// nameOfFailure is the server's reason, or gRPC's code where there is none.
func nameOfFailure(err error) string {
	st := status.Convert(err)
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return st.Code().String()
}
