package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/cmd/internal/doctor"
	"github.com/jotsmith/jotsmith/cmd/internal/terminal"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
	"github.com/jotsmith/jotsmith/service/ledger"
)

// defaultConfig is where doctor looks for a configuration that nobody names.
const defaultConfig = "/etc/jotsmith/jotsmith.yaml"

// doctorFlags are the flags of `jotsmith doctor`.
type doctorFlags struct {
	file      string
	output    string
	consumers bool
	sign      bool
	timeout   time.Duration
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at an installation, and say what is wrong and what mends it",
		Long: `Look at one installation and print what is wrong with it, each with its mend:
configuration, clock, key files and pins, PINs, permissions, certificates, what is
published, the versions of keys, and what App Store Connect would answer 401 for.

Nothing is changed, nobody is logged in and nothing is signed. A PKCS#11 token is
asked for its state alone, which costs no try of the PIN; the keys in it are not
read. AWS KMS is asked for public keys (kms:GetPublicKey) and for its time. A
server that runs is asked for its status over the admin socket.

Run it as the user that serves, or it cannot tell what that user may do.

It ends with 0 where nothing is wrong, notes aside, and with 9 otherwise.`,
		Example: `  jotsmith doctor
  sudo -u jotsmith jotsmith doctor --config /etc/jotsmith/jotsmith.yaml
  jotsmith doctor --config jotsmith.yaml --contact-consumers
  jotsmith doctor --config jotsmith.yaml --sign -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			r := f.examine(ctx)
			if err := r.print(cmd.OutOrStdout(), f.output); err != nil {
				return fail(exitFailure, err)
			}
			if doctor.Wrong(r.Findings) {
				return fail(exitUnwell, errors.New(r.summary()))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", defaultConfig, "the configuration file; - reads standard input")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.BoolVar(&f.consumers, "contact-consumers", false, "also ask App Store Connect for its time, and fetch what is published where verifiers do")
	flags.BoolVar(&f.sign, "sign", false, "also have each key sign a canary, as serve does at its start; a PKCS#11 token's PIN is used for it")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to look at most")
	return cmd
}

// diagnosis is what `jotsmith doctor` prints.
type diagnosis struct {
	File       string           `json:"config"`
	Generation string           `json:"generation,omitempty"`
	Findings   []doctor.Finding `json:"findings"`
}

// examine looks at the installation of a configuration file.
func (f *doctorFlags) examine(ctx context.Context) diagnosis {
	r := diagnosis{File: f.file, Findings: []doctor.Finding{}}
	cfg, err := config.Sketch(f.file, checkURI)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.Findings = append(r.Findings, doctor.Finding{Severity: doctor.Fault, Subject: "configuration", What: strings.TrimRight(line, "\n"), Mend: "mend the file; docs/config.md says what each field is"})
		}
	}
	if cfg == nil {
		return r
	}
	if err != nil {
		r.Findings = append(r.Findings, doctor.Finding{Severity: doctor.Note, Subject: "configuration", What: "the rest was looked at as far as it can be", Mend: "look again when the file is mended"})
	}
	r.Generation = cfg.Generation
	silent := slog.New(slog.DiscardHandler) // what a store logs, it says in its errors
	exam := doctor.Exam{
		Config: cfg,
		Now:    time.Now,
		Store:  func(uri string) doctor.Store { return examined(uri, silent) },
		Status: func(ctx context.Context) (*jotsmithv1.StatusResponse, error) {
			return statusOf(ctx, cfg.GetAdmin().GetPath())
		},
		Signs:     f.sign,
		Consumers: f.consumers,
		HTTP:      doctor.Client(),
		AppStore:  doctor.AppStoreConnect,
	}
	r.Findings = append(r.Findings, exam.Run(ctx)...)
	if f.sign && err == nil {
		if err := canaries(ctx, cfg, silent); err != nil {
			r.Findings = append(r.Findings, doctor.Finding{Severity: doctor.Fault, Subject: "canary", What: err.Error(), Mend: "jotsmith serve would not start; docs/errors.md and the finding about the key say more"})
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b doctor.Finding) int { return cmp.Compare(rank(a.Severity), rank(b.Severity)) })
	return r
}

// rank puts what is worst first.
func rank(s doctor.Severity) int {
	return slices.Index([]doctor.Severity{doctor.Fault, doctor.Warning, doctor.Note}, s)
}

// statusOf asks the server behind an admin socket.
func statusOf(ctx context.Context, path string) (*jotsmithv1.StatusResponse, error) {
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // one call was all
	return jotsmithv1.NewAdminServiceClient(conn).Status(ctx, &jotsmithv1.StatusRequest{})
}

// canaries has every key sign one, and says why one cannot.
func canaries(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	cfg.Issuers = nil // of callers, of whom there are none
	tokenKeys := oidc.NewKeys(oidc.KeysConfig{Now: time.Now, Random: rand.Reader, Log: log})
	defer tokenKeys.Close()
	minted, err := ledger.Open("", rand.Reader, log)
	if err != nil {
		return err
	}
	now := func() (time.Time, error) { return time.Now(), nil }
	versions, err := openVersions(ctx, cfg, true, nil, minted, now, func() {}, log)
	if err != nil {
		return err
	}
	in, err := openGeneration(ctx, cfg, newKeyHealth().next(), books{versions: versions}, tokenKeys, log)
	if err != nil {
		return err
	}
	var faults []error
	for _, key := range cfg.SigningKeys {
		if err := in.Signer.Fault(key.Name); err != nil {
			faults = append(faults, fmt.Errorf("key %s: %w", key.Name, err))
		}
	}
	return errors.Join(errors.Join(faults...), in.close())
}

// summary counts the findings.
func (r diagnosis) summary() string {
	counts := map[doctor.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	var parts []string
	for _, c := range []struct {
		severity  doctor.Severity
		one, many string
	}{{doctor.Fault, "error", "errors"}, {doctor.Warning, "warning", "warnings"}, {doctor.Note, "note", "notes"}} {
		switch n := counts[c.severity]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+c.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, c.many))
		}
	}
	return r.File + ": " + strings.Join(parts, ", ")
}

func (r diagnosis) print(w io.Writer, output string) error {
	if output == "json" {
		return printJSON(w, r)
	}
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&text, "%-7s  %s: %s\n", f.Severity, terminal.Printable(f.Subject), indented(f.What))
		if f.Mend != "" {
			fmt.Fprintf(&text, "         mend: %s\n", indented(f.Mend))
		}
	}
	switch {
	case len(r.Findings) == 0:
		fmt.Fprintf(&text, "%s: nothing is wrong\n", r.File)
	case !doctor.Wrong(r.Findings):
		fmt.Fprintf(&text, "%s: nothing is wrong\n", r.summary())
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// indented keeps a text of several lines below its first.
func indented(text string) string {
	return strings.ReplaceAll(terminal.Printable(strings.TrimSpace(text)), "\n", "\n         ")
}
