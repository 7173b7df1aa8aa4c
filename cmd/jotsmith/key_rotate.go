package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

func newKeyVersions() *cobra.Command {
	var o operator
	return o.command(&cobra.Command{
		Use:   "versions [NAME]",
		Short: "Say which version of each key signs, and what is to come",
		Long: `Say how the versions of each key that has some stand, and what is to come of
them, and when:

  next      published, so that verifiers get to know it; signs nothing yet
  active    signs
  retired   signs no more; published while a token that it signed can be valid
  gone      neither; can be taken out of the configuration`,
		Example: `  jotsmith key versions
  jotsmith key versions orders -o json`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, args []string, w io.Writer) error {
		resp, err := admin.ListKeyVersions(ctx, &jotsmithv1.ListKeyVersionsRequest{Key: strings.Join(args, "")})
		if err != nil {
			return o.fault(err)
		}
		return o.print(w, resp, func(w io.Writer) {
			for i, key := range resp.GetKeys() {
				if i > 0 {
					fmt.Fprintln(w)
				}
				writeVersions(w, key)
			}
			if len(resp.GetKeys()) == 0 {
				fmt.Fprintln(w, "no key has versions")
			}
		})
	})
}

// versionChange is how an operator changes a version.
type versionChange struct {
	operator
	force, dryRun bool
	reason        string
}

func (c *versionChange) addFlags(cmd *cobra.Command, force string) {
	cmd.Flags().BoolVar(&c.force, "force", false, force)
	cmd.Flags().BoolVarP(&c.dryRun, "dry-run", "n", false, "say what would come of it, and change nothing")
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for the record; required with --force")
}

// said says whether something was done, or would be.
func (c *versionChange) said(done string) string {
	if c.dryRun {
		return "dry run, nothing is changed: " + done
	}
	return done
}

func newKeyRotate() *cobra.Command {
	var c versionChange
	var kid string
	cmd := c.command(&cobra.Command{
		Use:   "rotate NAME",
		Short: "Have the next version of a key sign",
		Long: `Have the next version of a key sign, as soon as every verifier knows it: when it
has been published for as long as the configuration's verifier_cache says. The
server does it at that time, over restarts too. The version before is published
until the last token that it signed has ended.

--force has it sign at once. Verifiers that have not fetched the keys since it was
published then refuse its tokens until they do.`,
		Example: `  jotsmith key rotate orders --dry-run
  jotsmith key rotate orders
  jotsmith key rotate asc --to 7Y8Z4HXF35 --force --reason "the old one leaked, INC-1234"`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, args []string, w io.Writer) error {
		resp, err := admin.RotateKey(ctx, &jotsmithv1.RotateKeyRequest{
			Key: args[0], Kid: kid, Force: c.force, ValidateOnly: c.dryRun, Reason: c.reason,
		})
		if err != nil {
			return c.fault(err)
		}
		return c.print(w, resp, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n\n", c.said(rotated(resp.GetKey())))
			writeVersions(w, resp.GetKey())
		})
	})
	cmd.Flags().StringVar(&kid, "to", "", "the `KID` of the version that is to sign (default: the one whose turn it is)")
	c.addFlags(cmd, "at once, even where verifiers may not know it yet")
	return cmd
}

// rotated says what a rotation has come to.
func rotated(key *jotsmithv1.KeyVersions) string {
	for _, step := range key.GetSteps() {
		if step.GetStanding() == jotsmithv1.KeyVersion_STANDING_ACTIVE && step.GetKid() == key.GetOrderedKid() {
			return fmt.Sprintf("%s signs from %s on", step.GetKid(), moment(step.GetTime()))
		}
	}
	for _, v := range key.GetVersions() {
		if v.GetStanding() == jotsmithv1.KeyVersion_STANDING_ACTIVE {
			return v.GetKid() + " signs"
		}
	}
	return "none signs"
}

func newKeyDrop() *cobra.Command {
	var c versionChange
	cmd := c.command(&cobra.Command{
		Use:   "drop NAME KID",
		Short: "Publish a version of a key no more",
		Long: `Publish a version of a key no more that has been retired, or has not signed yet.
The server does so by itself when the last token that it signed has ended.

--force does it before. Verifiers then refuse its tokens, which are listed: it is
for a key that somebody else has.`,
		Example: `  jotsmith key drop orders 6tlV-2WEpQC4cjLS9y63B6OexE5cx0rNdFZbHgPkZkE
  jotsmith key drop orders old --force --reason "leaked, INC-1234"`,
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, admin jotsmithv1.AdminServiceClient, args []string, w io.Writer) error {
		resp, err := admin.DropKeyVersion(ctx, &jotsmithv1.DropKeyVersionRequest{
			Key: args[0], Kid: args[1], Force: c.force, ValidateOnly: c.dryRun, Reason: c.reason,
		})
		if err != nil {
			return c.fault(err)
		}
		return c.print(w, resp, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n\n", c.said(args[1]+" is published no more"))
			writeVersions(w, resp.GetKey())
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			writeAlive(t, resp.GetAlive())
			_ = t.Flush() // of a builder
		})
	})
	c.addFlags(cmd, "even where tokens that it signed can be valid")
	return cmd
}

// writeVersions writes the versions of a key for people.
func writeVersions(w io.Writer, key *jotsmithv1.KeyVersions) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() //nolint:errcheck // of a builder
	schedule := "when an operator says so"
	if key.GetEvery() != nil {
		schedule = "every " + span(key.GetEvery().AsDuration())
	}
	fmt.Fprintf(t, "%s: verifiers keep the keys for up to %s; the next version signs %s\n",
		key.GetKey(), span(key.GetVerifierCache().AsDuration()), schedule)
	fmt.Fprintf(t, "KID\tSTANDS\tSTORE\tPUBLISHED\tSIGNED FROM\tTO\tTOKENS UNTIL\n")
	for _, v := range key.GetVersions() {
		store := "can sign"
		if !v.GetHealthy() {
			store = "cannot sign"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.GetKid(), standingText(v.GetStanding()), store,
			moment(v.GetPublishTime()), moment(v.GetActivateTime()), moment(v.GetRetireTime()), moment(v.GetNewestExpireTime()))
	}
	if len(key.GetSteps()) == 0 {
		return
	}
	fmt.Fprintf(t, "\nTO COME\tKID\t\tWAITS\n")
	for _, step := range key.GetSteps() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", moment(step.GetTime()), step.GetKid(), standingText(step.GetStanding()), waitText(step.GetWait()))
	}
}

func standingText(s jotsmithv1.KeyVersion_Standing) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STANDING_"))
}

func waitText(wait jotsmithv1.RotationStep_Wait) string {
	switch wait {
	case jotsmithv1.RotationStep_WAIT_VERIFIERS:
		return "until every verifier knows it"
	case jotsmithv1.RotationStep_WAIT_SCHEDULE:
		return "until the version before has signed for its time"
	case jotsmithv1.RotationStep_WAIT_OPERATOR:
		return "until an operator says so: jotsmith key rotate"
	case jotsmithv1.RotationStep_WAIT_SUCCESSOR:
		return "until another signs"
	case jotsmithv1.RotationStep_WAIT_TOKENS:
		return "until the last token that it signed has ended"
	case jotsmithv1.RotationStep_WAIT_LIMIT:
		return "until the last token that it can have signed has ended"
	case jotsmithv1.RotationStep_WAIT_ENDLESS:
		return "for ever: its tokens have no end; jotsmith key drop --force"
	case jotsmithv1.RotationStep_WAIT_STORE:
		return "until its store can sign with it; see jotsmith status"
	case jotsmithv1.RotationStep_WAIT_VERSION:
		return "and no version follows: make one (jotsmith key generate), add it to versions, reload"
	case jotsmithv1.RotationStep_WAIT_UNSPECIFIED:
	}
	return wait.String()
}

// moment is a time for people; a dash for none.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format(time.RFC3339)
}
