package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

// profileCheckFlags are the flags of `jotsmith profile check`.
type profileCheckFlags struct {
	file    string
	claims  string
	ttl     time.Duration
	atLeast time.Duration
	at      string
	output  string
}

func newProfileCheck() *cobra.Command {
	var f profileCheckFlags
	cmd := &cobra.Command{
		Use:   "check P --config FILE",
		Short: "Try a request on a profile of a file, without a server",
		Long: `Print what a request for a token of the profile P would get under the
configuration FILE: the header and the claims that would be signed, with the
rule that decides each, or every reason why there would be no token. No server
and no key store is asked, and nothing is signed. Grants are not looked at. The
kid of a key whose thumbprint it is stands as "<thumbprint>".

The exit code is 0 where there would be a token, and that of a refused request
where there would be none.`,
		Example: `  jotsmith profile check asc --config jotsmith.yaml
  jotsmith profile check asc --config jotsmith.yaml --ttl 5m --claims '{"scope":["GET /v1/apps"]}'
  jotsmith profile check asc --config jotsmith.yaml --at 2027-01-01T00:00:00Z -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := claims.Request{}
			if cmd.Flags().Changed("ttl") {
				req.TTL = &f.ttl
			}
			if cmd.Flags().Changed("min-remaining") {
				req.MinRemaining = &f.atLeast
			}
			return f.run(args[0], req, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "the configuration file; - reads standard input")
	flags.StringVar(&f.claims, "claims", "", "the claims as a JSON object, @FILE, or @- for standard input")
	flags.DurationVar(&f.ttl, "ttl", 0, "how long the token is to be valid, as in 10m (default: the profile's)")
	flags.DurationVar(&f.atLeast, "min-remaining", 0, "how long a token that was made before must still be valid (default: a third of its life)")
	flags.StringVar(&f.at, "at", "", "the time of the request, as in 2027-01-01T00:00:00Z (default: now)")
	flags.StringVarP(&f.output, "output", "o", "text", "text, or json for what a server's ExplainToken would answer")
	_ = cmd.MarkFlagRequired("config") // the flag exists
	return cmd
}

func (f *profileCheckFlags) run(name string, req claims.Request, stdin io.Reader, stdout io.Writer) error {
	if f.output != "text" && f.output != "json" {
		return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", f.output))
	}
	if f.file == "-" && f.claims == "@-" {
		return fail(exitUsage, errors.New("--config and --claims cannot both read standard input"))
	}
	now := time.Now()
	if f.at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return fail(exitUsage, fmt.Errorf("--at: %q is not a time as in 2027-01-01T00:00:00Z", f.at))
		}
	}
	var err error
	if req.Claims, err = readClaims(f.claims, stdin); err != nil {
		return fail(exitUsage, fmt.Errorf("--claims: %w", err))
	}
	cfg, _, err := readConfig(f.file, stdin)
	if err != nil {
		return err
	}
	if _, err := profileOf(cfg, f.file, name); err != nil {
		return err
	}
	resp, err := explainOffline(cfg, name, req, now)
	if err != nil {
		return fail(exitFailure, err)
	}
	return explain(stdout, name, resp, f.output == "json")
}

// profileOf returns a profile of a configuration.
func profileOf(cfg *config.Config, file, name string) (*claims.Profile, error) {
	var known []string
	for i := range cfg.ClaimProfiles {
		if cfg.ClaimProfiles[i].Name == name {
			return &cfg.ClaimProfiles[i], nil
		}
		known = append(known, cfg.ClaimProfiles[i].Name)
	}
	return nil, unknown("profile", name, known, "jotsmith profile list --config "+file)
}

// explainOffline returns what a server with this configuration would answer to
// ExplainToken, to a caller with a grant and with every key at hand.
func explainOffline(cfg *config.Config, profile string, req claims.Request, now time.Time) (*jotsmithv1.ExplainTokenResponse, error) {
	uid := uint32(0)
	grants := policy.New([]policy.Rule{{Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{profile}}})
	grant, err := grants.Decide(authn.FromUnix(authn.Unix{UID: uid}), profile)
	if err != nil {
		return nil, err
	}
	return explainGrant(cfg, grant, req, now)
}

// headerOf returns the header that a set would be signed with. The signer that
// says so is never loaded, so it asks no key store.
func headerOf(cfg *config.Config, set claims.Set) ([]byte, error) {
	stores := map[string]signer.Store{}
	for name := range cfg.GetBackends() {
		stores[name] = signer.Store{}
	}
	signing := slices.Clone(cfg.SigningKeys)
	for i := range signing {
		signing[i].KID = cmp.Or(signing[i].KID, "<thumbprint>") // which only its store knows
	}
	keys, err := signer.New(signer.Config{Stores: stores, Keys: signing, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return keys.Header(set)
}

// refusalOf is the status of a refused request, as the server would send it.
func refusalOf(refusal error) (*status.Status, error) {
	bad := &errdetails.BadRequest{}
	if refused, ok := errors.AsType[*claims.Refusal](refusal); ok {
		for _, v := range refused.Violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
	}
	info := &errdetails.ErrorInfo{Reason: "INVALID_REQUEST", Domain: service.Domain}
	return status.New(codes.InvalidArgument, "request refused: "+refusal.Error()).WithDetails(info, bad)
}
