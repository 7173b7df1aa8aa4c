// Jotsmith mints JWTs for every service of an organisation over gRPC, with
// ECDSA P-256 keys that stay where they are kept: a file, AWS KMS or a PKCS#11
// HSM.
//
//	jotsmith serve --config FILE          run the server
//	jotsmith token --profile P            print a token, or why there is none
//	jotsmith exec --profile P -- CMD      run a command that has a token
//	jotsmith credential get               be the credential helper of kubectl, git and others
//	jotsmith proxy --to URL --profile P   put a token into the requests of programs of this machine
//	jotsmith inspect TOKEN                decode a token, and verify it
//	jotsmith profile list                 list the profiles, or the presets
//	jotsmith profile show P               say in words what a preset or profile demands
//	jotsmith profile check P              try a request without a server
//	jotsmith config check FILE            find every problem of a configuration
//	jotsmith config schema                print its JSON Schema
//	jotsmith key describe URI             print the public half of a key
//	jotsmith key list                     print a server's keys as a JWK Set
//	jotsmith key generate URI             make a key in its store
//	jotsmith key import FILE --to URI     move a key from a file into a store
//	jotsmith key publish --to DIR         write the public keys as files, for a static host
//	jotsmith key versions                 say which version of each key signs
//	jotsmith key rotate NAME              have the next version of a key sign
//	jotsmith key drop NAME KID            publish a version of a key no more
//	jotsmith grants test --as CALLER      say what a caller may mint, without a server
//	jotsmith grants replay PATH           say which recorded tokens a file would refuse
//	jotsmith audit verify PATH            follow the chain of an audit record
//	jotsmith audit query PATH             find the records of tokens
//	jotsmith doctor                       say what is wrong with an installation
//	jotsmith status                       say what a server is doing
//	jotsmith top                          watch it in the terminal
//	jotsmith bench --profile P            see how many tokens a server bears
//	jotsmith reload                       have it read its configuration anew
//	jotsmith kill profile P               stop minting, at once and over restarts
//	jotsmith enable profile P             let it go on
//	jotsmith version                      print the version
//
// `jotsmith COMMAND --help` says more and shows examples.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
)

// gcPercent is GOGC where the environment sets none. A signature makes some sixty
// small objects; at the usual 100 the collector runs every few hundred tokens and
// takes a fifth of the processor. 400 costs 25 MiB. It counts from the start:
// compiling the rules of a configuration takes half as long.
const gcPercent = 400

func main() { os.Exit(program(os.Stderr)) }

// program is main, with the place for what is not its output.
func program(stderr io.Writer) (code int) {
	runChildIfAsked()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// For every command: those of a client have tokens in their memory too.
	if err := backends.HardenProcess(); err != nil {
		_, _ = fmt.Fprintf(stderr, "jotsmith: %v\n", err)
		return exitFailure
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the program as if there were no first
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr)
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // cobra gives each command the context
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var fault *exitError
	if !errors.As(err, &fault) {
		fault = &exitError{exitUsage, err} // cobra's own errors are about the command line
	}
	if fault.err == nil { // the command that was run has said it
		return fault.code
	}
	_, _ = fmt.Fprintf(stderr, "jotsmith: %v\n", fault)
	if fault.code == exitUsage {
		_, _ = fmt.Fprintln(stderr, "try: jotsmith --help")
	}
	return fault.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "jotsmith",
		Short: "Mint JWTs over gRPC, with keys that stay in a file, AWS KMS or an HSM",
		Long: `Jotsmith mints JWTs for every service of an organisation over gRPC, signed with
ES256 by keys that stay where they are kept: a file, AWS KMS or a PKCS#11 HSM.

Exit codes:
` + exitCodes,
		Example: `  jotsmith serve --config /etc/jotsmith/jotsmith.yaml
  curl -H "Authorization: Bearer $(jotsmith token --profile asc)" https://api.appstoreconnect.apple.com/v1/apps
  jotsmith token --profile asc --explain
  jotsmith profile list --presets`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	group(root, newServe(), newToken(), newExec(), newCredential(), newProxy(), newInspect(), newProfile(), newConfig(), newKey(), newGrants(), newAudit(),
		newDoctor(), newStatus(), newTop(), newBench(), newReload(), newKill(), newEnable(), newVersion())
	return root
}

// group makes a command one that has only commands below it: alone it prints
// its help, and with any other word it fails.
func group(cmd *cobra.Command, commands ...*cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(commands...)
}
