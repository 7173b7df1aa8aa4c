package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

// The exit codes of a command that was not run, which shells have.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the signal's number
)

// execFlags are the flags of `jotsmith exec`.
type execFlags struct {
	wanted   wanted
	variable string
	asFile   bool
}

func newExec() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec --profile P -- COMMAND [ARG...]",
		Short: "Run a command that has a token",
		Long: `Run COMMAND with a token in the environment variable JOTSMITH_TOKEN. The command
line and the log of nothing have the token. Signals go on to COMMAND, and its exit
code is passed through: 126 and 127 mean that it could not be run, and 128 and
more that a signal ended it. Where there is no token COMMAND is not run.

A variable of a program that runs cannot be changed: the token in it is the one
that COMMAND began with, and a command that runs for longer than it lives is
refused by whoever takes it. --min-remaining asks for one that lives long enough.

With --file the token is in a file, whose path is in JOTSMITH_TOKEN_FILE. The file
has mode 0600, in a directory of its own that nobody else may enter. It is replaced
as a whole whenever there is a newer token, for as long as COMMAND runs, and removed
when it has ended. COMMAND has to read it again for each use. Where the server
refuses another token, standard error says so and the file is removed until there is
one again. Where it is only away, the last one stays.`,
		Example: `  jotsmith exec --profile asc -- sh -c 'curl -H "Authorization: Bearer $JOTSMITH_TOKEN" "$URL"'
  jotsmith exec --profile asc --min-remaining 8m --variable ASC_TOKEN -- ./release.sh
  jotsmith exec --profile ci --file -- ./long-running-job
  jotsmith exec --profile ci --file --variable VAULT_TOKEN_FILE -- ./job`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows COMMAND is its own
	flags.StringVar(&f.variable, "variable", "", "the environment variable (default: JOTSMITH_TOKEN, with --file JOTSMITH_TOKEN_FILE)")
	flags.BoolVar(&f.asFile, "file", false, "put the token into a file that is kept fresh, and its path into the variable")
	f.wanted.addFlags(flags)
	_ = cmd.MarkFlagRequired("profile") // the flag exists
	return cmd
}

// variableName is what every shell takes.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (f *execFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args []string) error {
	if f.variable == "" {
		f.variable = "JOTSMITH_TOKEN"
		if f.asFile {
			f.variable = "JOTSMITH_TOKEN_FILE"
		}
	}
	if !variableName.MatchString(f.variable) {
		return fail(exitUsage, fmt.Errorf("--variable: %q cannot be the name of a variable", f.variable))
	}
	options, err := f.wanted.options(stdin)
	if err != nil {
		return err
	}
	// Before a token is made for nothing.
	path, err := exec.LookPath(args[0])
	if err != nil {
		return notRun(args[0], err)
	}
	c, err := f.wanted.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the process ends
	value, end, err := f.token(ctx, c, options, stderr)
	if err != nil {
		return err
	}
	defer end()
	return runCommand(ctx, &exec.Cmd{
		Path: path, Args: args, Env: withVariable(os.Environ(), f.variable, value),
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
	})
}

// token returns what goes into the variable. end has to be called when the command
// has ended.
func (f *execFlags) token(ctx context.Context, c *jotsmithgo.Client, options []jotsmithgo.Option, stderr io.Writer) (value string, end func(), err error) {
	if f.asFile {
		kept, err := keepTokenFile(ctx, c, f.wanted.profile, options, stderr)
		if err != nil {
			return "", nil, f.wanted.fault(err)
		}
		return kept.path(), kept.close, nil
	}
	token, err := c.Token(ctx, f.wanted.profile, options...)
	if err != nil {
		return "", nil, f.wanted.fault(err)
	}
	return token.Reveal(), func() {}, nil
}

// withVariable is an environment in which a variable has one value.
func withVariable(environment []string, name, value string) []string {
	var out []string
	for _, v := range environment {
		if !strings.HasPrefix(v, name+"=") {
			out = append(out, v)
		}
	}
	return append(out, name+"="+value)
}

// runCommand runs a command to its end. Signals that came to this process alone go
// on to it; ctx, which they end too, does not end it.
func runCommand(ctx context.Context, cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	if ctx.Err() != nil { // a signal came before there was anybody to send it to
		return fail(exitFailure, context.Cause(ctx))
	}
	if err := cmd.Start(); err != nil {
		return notRun(cmd.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !hadByGroup(s) {
				_ = cmd.Process.Signal(s) // which fails only where it has just ended
			}
		case err := <-ended:
			return commandEnd(err)
		}
	}
}

// commandEnd is the end of this program after that of a command.
func commandEnd(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return fail(exitFailure, err)
	}
	code := exit.ExitCode()
	if code < 0 {
		code = exitSignal + endSignal(exit.ProcessState)
	}
	return &exitError{code: code}
}

// notRun says why a command could not be run.
func notRun(name string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return fail(code, fmt.Errorf("%s cannot be run: %w", name, err))
}
