package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"
)

// credentialFlags are the flags of `jotsmith credential`.
type credentialFlags struct {
	wanted   wanted
	format   string
	host     string
	username string
}

// The forms of a credential.
const (
	formatJSON       = "json"
	formatKubernetes = "kubernetes"
	formatGit        = "git"
)

func newCredential() *cobra.Command {
	var f credentialFlags
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Be the credential helper of kubectl, git and others",
		Long: `Give a program its token in the way in which it asks its helpers for one. The
program runs ` + "`jotsmith credential get`" + ` whenever it needs a token.

  kubernetes  an ExecCredential of client.authentication.k8s.io, v1 or v1beta1, as
              KUBERNETES_EXEC_INFO asks for it. This is the format where that
              variable is set. The time in it is that of the refresh, so that a
              token is not used to its last second.
  git         git's protocol for credential helpers. Nothing is said to a question
              that is not about https://HOST of --host, so that a repository
              elsewhere cannot ask for the token. Git 2.46 and newer send it as
              Authorization: Bearer, older ones as a password.
  json        {"access_token": ..., "token_type": "Bearer", "expiry": ...}, the
              format otherwise. expiry is when to ask again.

Nothing is kept: store and erase, which git calls, change nothing.`,
		Example: `  jotsmith credential get --profile asc
  jotsmith credential get --profile cluster --format kubernetes
  git config --global credential.https://git.example.org.helper \
    '!jotsmith credential --profile git --format git --host git.example.org'`,
	}
	group(cmd,
		&cobra.Command{
			Use:   "get",
			Short: "Print a token as a program's credential",
			Example: `  jotsmith credential get --profile asc
  jotsmith credential get --profile cluster --format kubernetes`,
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return f.get(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
			},
		},
		forgets("store", "Take what git wants kept, and keep nothing"),
		forgets("erase", "Take what git wants forgotten, of which nothing was kept"))
	flags := cmd.PersistentFlags()
	f.wanted.addFlags(flags)
	flags.StringVar(&f.format, "format", "", "json, kubernetes or git (default: kubernetes where KUBERNETES_EXEC_INFO is set, else json)")
	flags.StringVar(&f.host, "host", "", "git's host, as in git.example.org or git.example.org:8443; it alone gets the token")
	flags.StringVar(&f.username, "username", "jwt", "who the password is of, for a git that is older than 2.46 and names nobody")
	_ = cmd.MarkPersistentFlagRequired("profile") // the flag exists
	return cmd
}

// forgets is a command of git's protocol that does nothing.
func forgets(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		Example: "  jotsmith credential " + name + " --profile git",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := readGit(cmd.InOrStdin()) // git does not like a pipe that nobody reads
			return fail(exitUsage, err)
		},
	}
}

// get prints a token in a form.
func (f *credentialFlags) get(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if f.format == "" {
		f.format = formatJSON
		if os.Getenv(execInfoVariable) != "" {
			f.format = formatKubernetes
		}
	}
	switch f.format {
	case formatJSON:
		return f.print(ctx, stdin, stdout, writeJSON)
	case formatKubernetes:
		version, err := execCredentialVersion(os.Getenv(execInfoVariable))
		if err != nil {
			return fail(exitUsage, err)
		}
		return f.print(ctx, stdin, stdout, version.write)
	case formatGit:
		return f.getGit(ctx, stdin, stdout)
	}
	return fail(exitUsage, fmt.Errorf("--format is json, kubernetes or git, not %q", f.format))
}

// getGit answers a question of git's, with nothing where it is not for here.
func (f *credentialFlags) getGit(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	if f.host == "" {
		return fail(exitUsage, errors.New("--format git needs --host: without it every server that git speaks to could have the token"))
	}
	asked, err := readGit(stdin)
	if err != nil {
		return fail(exitUsage, err)
	}
	if asked.protocol != "https" || asked.host != f.host {
		return nil
	}
	if asked.username == "" {
		asked.username = f.username
	}
	return f.print(ctx, stdin, stdout, asked.write)
}

// print gets a token and writes it.
func (f *credentialFlags) print(ctx context.Context, stdin io.Reader, stdout io.Writer, write func(io.Writer, *oauth2.Token) error) error {
	options, err := f.wanted.options(stdin)
	if err != nil {
		return err
	}
	c, err := f.wanted.connect()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the process ends
	token, err := c.TokenSource(ctx, f.wanted.profile, options...).Token()
	if err != nil {
		return f.wanted.fault(err)
	}
	return fail(exitFailure, write(stdout, token))
}

// writeJSON writes a token as JSON.
func writeJSON(w io.Writer, token *oauth2.Token) error {
	return printJSON(w, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		Expiry      string `json:"expiry"`
	}{token.AccessToken, token.TokenType, rfc3339(token)})
}

// rfc3339 is when to ask for another token, in whole seconds and not too late.
func rfc3339(token *oauth2.Token) string {
	return token.Expiry.UTC().Format("2006-01-02T15:04:05Z")
}
