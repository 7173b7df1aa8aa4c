package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/jotsmith/jotsmith/cmd/internal/top"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// defaultAdmin is where the operators' commands look for a server.
const defaultAdmin = "unix:///run/jotsmith/admin.sock"

// operator is how an operator's command reaches the server.
type operator struct {
	address string
	output  string
}

// addFlags adds the flags.
func (o *operator) addFlags(cmd *cobra.Command) {
	address := defaultAdmin
	if v := os.Getenv("JOTSMITH_ADMIN"); v != "" {
		address = v
	}
	cmd.Flags().StringVar(&o.address, "admin", address, "the server's `admin` socket, unix:///PATH (or JOTSMITH_ADMIN)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text, or json for the server's whole answer")
}

// dial checks the flags and returns a connection, which is made at the first
// call.
func (o *operator) dial() (*grpc.ClientConn, error) {
	if o.output != "text" && o.output != "json" {
		return nil, fail(exitUsage, fmt.Errorf("--output is text or json, not %q", o.output))
	}
	if !strings.HasPrefix(o.address, "unix:") {
		return nil, fail(exitUsage, fmt.Errorf("the admin socket is unix:///PATH, not %q", o.address))
	}
	conn, err := grpc.NewClient(o.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return conn, fail(exitUsage, err)
}

// command returns a command that calls the AdminService.
func (o *operator) command(cmd *cobra.Command, call func(context.Context, jotsmithv1.AdminServiceClient, []string, io.Writer) error) *cobra.Command {
	o.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		conn, err := o.dial()
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // the process ends
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		return call(ctx, jotsmithv1.NewAdminServiceClient(conn), args, cmd.OutOrStdout())
	}
	return cmd
}

// fault turns an error of the server into one of the command.
func (o *operator) fault(err error) error {
	return serverFault(err, o.address, "--admin or JOTSMITH_ADMIN")
}

// print writes an answer as JSON, or by write for people.
func (o *operator) print(w io.Writer, answer proto.Message, write func(io.Writer)) error {
	if o.output == "json" {
		return fail(exitFailure, printProto(w, answer))
	}
	var text strings.Builder
	write(&text)
	_, err := io.WriteString(w, text.String())
	return fail(exitFailure, err)
}

func newReload() *cobra.Command {
	var o operator
	return o.command(&cobra.Command{
		Use:   "reload",
		Short: "Have a server read its configuration anew",
		Long: `Have a server read its configuration, and its keys, anew. It returns when every
call is answered under the new one, or prints what is wrong with it, and then
the one before goes on.`,
		Example: `  jotsmith reload --admin unix:///run/jotsmith/admin.sock`,
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, _ []string, w io.Writer) error {
		resp, err := admin.Reload(ctx, &jotsmithv1.ReloadRequest{})
		if err != nil {
			return o.fault(err)
		}
		return o.print(w, resp, func(w io.Writer) {
			was := "as before"
			if resp.GetChanged() {
				was = "changed"
			}
			fmt.Fprintf(w, "configuration %s answers, %s; read and checked in %s\n",
				resp.GetConfigGeneration(), was, resp.GetDuration().AsDuration().Round(time.Millisecond))
			writeUnrecorded(w, resp.GetRecordError())
		})
	})
}

// writeUnrecorded says that the audit log has no record of what was done.
func writeUnrecorded(w io.Writer, why string) {
	if why != "" {
		fmt.Fprintf(w, "not recorded: %s\n", why)
	}
}

const targetUsage = `key NAME | profile NAME | caller NAME | everything`

// targetOf reads what an operator names.
func targetOf(args []string) (*jotsmithv1.Target, error) {
	if len(args) == 1 && args[0] == "everything" {
		return &jotsmithv1.Target{Target: &jotsmithv1.Target_Everything{Everything: true}}, nil
	}
	if len(args) == 2 {
		switch args[0] {
		case "key":
			return &jotsmithv1.Target{Target: &jotsmithv1.Target_Key{Key: args[1]}}, nil
		case "profile":
			return &jotsmithv1.Target{Target: &jotsmithv1.Target_Profile{Profile: args[1]}}, nil
		case "caller":
			return &jotsmithv1.Target{Target: &jotsmithv1.Target_Caller{Caller: args[1]}}, nil
		}
	}
	return nil, fail(exitUsage, errors.New("name what is meant: "+targetUsage))
}

func newKill() *cobra.Command {
	var o operator
	var reason string
	cmd := o.command(&cobra.Command{
		Use:   "kill (" + targetUsage + ") --reason WHY",
		Short: "Stop minting, at once and over restarts",
		Long: `Have a server mint no more tokens with a key, of a profile, for a caller (as the
log names him), or at all. It counts from the next call on and over restarts;
kept tokens are dropped and watches end.

Tokens that were handed out before stay valid until they expire. They are
listed, with the page where their vendor revokes the key itself.`,
		Example: `  jotsmith kill profile asc --reason "key leaked, INC-1234"
  jotsmith kill caller uri:spiffe://example.org/ci --reason "runner compromised"
  jotsmith kill everything --reason "drill"`,
		Args: cobra.RangeArgs(1, 2),
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, args []string, w io.Writer) error {
		target, err := targetOf(args)
		if err != nil {
			return err
		}
		resp, err := admin.Disable(ctx, &jotsmithv1.DisableRequest{Target: target, Reason: reason})
		if err != nil {
			return o.fault(err)
		}
		return o.print(w, resp, func(w io.Writer) {
			fmt.Fprintf(w, "stopped: %s\n", top.TargetText(target))
			writeUnrecorded(w, resp.GetRecordError())
			if profiles := resp.GetProfiles(); len(profiles) > 0 {
				fmt.Fprintf(w, "mints no more: %s\n", strings.Join(profiles, ", "))
			}
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			writeAlive(t, resp.GetAlive())
			_ = t.Flush() // of a builder
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record and the next operator")
	_ = cmd.MarkFlagRequired("reason") // the flag exists
	return cmd
}

func newEnable() *cobra.Command {
	var o operator
	return o.command(&cobra.Command{
		Use:     "enable (" + targetUsage + ")",
		Short:   "Let go on what kill has stopped",
		Example: `  jotsmith enable profile asc`,
		Args:    cobra.RangeArgs(1, 2),
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, args []string, w io.Writer) error {
		target, err := targetOf(args)
		if err != nil {
			return err
		}
		resp, err := admin.Enable(ctx, &jotsmithv1.EnableRequest{Target: target})
		if err != nil {
			return o.fault(err)
		}
		return o.print(w, resp, func(w io.Writer) {
			if resp.GetWasDisabled() {
				fmt.Fprintf(w, "goes on: %s\n", top.TargetText(target))
			} else {
				fmt.Fprintf(w, "was not stopped: %s\n", top.TargetText(target))
			}
		})
	})
}
