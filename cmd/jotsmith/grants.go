package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/quota"
)

func newGrants() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "Try the grants of a configuration",
	}
	group(cmd, newGrantsTest(), newGrantsReplay())
	return cmd
}

// grantsTestFlags are the flags of `jotsmith grants test`.
type grantsTestFlags struct {
	file    string
	as      string
	claim   []string
	profile string
	claims  string
	ttl     time.Duration
	output  string
}

func newGrantsTest() *cobra.Command {
	var f grantsTestFlags
	cmd := &cobra.Command{
		Use:   "test --config FILE --as SPEC --profile P",
		Short: "Say what a caller would get under a file, and by which grant",
		Long: `Print which grant of the configuration FILE lets the caller SPEC have a token of
the profile P, what it holds him to, and what the token would be; or which
grants came near, and why none permits. No server and no key store is asked, and
nothing is signed. The caller is taken at his word: this says what he may do,
not who he is.

SPEC is one of

  unix:uid=1000,gid=1000           a process on a Unix socket
  spiffe://example.org/ci/deploy   a client certificate with this URI
  uri:URI, dns:NAME, email:ADDR    a client certificate with this name
  oidc:ISSUER:SUB                  a token of an issuer of FILE, with --claim NAME=VALUE
  loopback                         any process on the machine, in plaintext

The exit code is 0 where there would be a token, 4 where there is no grant, and
that of a refused request where the grant or the profile refuses it.`,
		Example: `  jotsmith grants test --config jotsmith.yaml --as unix:uid=1000,gid=1000 --profile asc
  jotsmith grants test --config jotsmith.yaml --as spiffe://example.org/ci/deploy --profile asc --claims '{"scope":["GET /v1/apps"]}'
  jotsmith grants test --config jotsmith.yaml --as oidc:github:repo:example/app:ref:refs/heads/main --claim ref=refs/heads/main --profile asc`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := claims.Request{}
			if cmd.Flags().Changed("ttl") {
				req.TTL = &f.ttl
			}
			return f.run(req, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "the configuration file; - reads standard input")
	flags.StringVar(&f.as, "as", "", "the caller")
	flags.StringArrayVar(&f.claim, "claim", nil, "a claim of an issuer's token, NAME=VALUE; may be repeated")
	flags.StringVarP(&f.profile, "profile", "p", "", "the profile")
	flags.StringVar(&f.claims, "claims", "", "the claims as a JSON object, @FILE, or @- for standard input")
	flags.DurationVar(&f.ttl, "ttl", 0, "how long the token is to be valid, as in 10m (default: the profile's)")
	flags.StringVarP(&f.output, "output", "o", "text", "text, or json for what a server's ExplainToken would answer")
	for _, name := range []string{"config", "as", "profile"} {
		_ = cmd.MarkFlagRequired(name) // the flag exists
	}
	return cmd
}

func (f *grantsTestFlags) run(req claims.Request, stdin io.Reader, stdout io.Writer) error {
	if f.output != "text" && f.output != "json" {
		return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", f.output))
	}
	if f.file == "-" && f.claims == "@-" {
		return fail(exitUsage, errors.New("--config and --claims cannot both read standard input"))
	}
	caller, err := parseCaller(f.as, f.claim)
	if err != nil {
		return fail(exitUsage, err)
	}
	if req.Claims, err = readClaims(f.claims, stdin); err != nil {
		return fail(exitUsage, fmt.Errorf("--claims: %w", err))
	}
	cfg, _, err := readConfig(f.file, stdin)
	if err != nil {
		return err
	}
	if _, err := profileOf(cfg, f.file, f.profile); err != nil {
		return err
	}
	if token, ok := caller.Token(); ok && cfg.GetIssuers()[token.Issuer] == nil {
		return fail(exitUsage, fmt.Errorf("--as: %s has no issuer %q", f.file, token.Issuer))
	}
	grant, err := policy.New(cfg.PolicyRules).Decide(caller, f.profile)
	if err != nil {
		return f.notGranted(cfg, caller, stdout)
	}
	resp, err := explainGrant(cfg, grant, req, time.Now())
	if err != nil {
		return fail(exitFailure, err)
	}
	return explain(stdout, f.profile, resp, f.output == "json")
}

// notGranted prints which grants came near.
func (f *grantsTestFlags) notGranted(cfg *config.Config, caller authn.Caller, stdout io.Writer) error {
	refused := status.New(codes.PermissionDenied, "this caller has no grant for this profile")
	refused, err := refused.WithDetails(&errdetails.ErrorInfo{Reason: "NOT_GRANTED", Domain: service.Domain})
	if err != nil {
		return fail(exitFailure, err)
	}
	near := policy.Near(cfg.PolicyRules, caller, f.profile)
	if f.output == "json" {
		resp := &jotsmithv1.ExplainTokenResponse{ConfigGeneration: cfg.Generation}
		resp.Refusals = append(resp.Refusals, refused.Proto())
		for _, miss := range near {
			resp.Limits = append(resp.Limits, "not by the grant "+miss.Rule+": "+strings.Join(miss.Why, "; "))
		}
		return explain(stdout, f.profile, resp, true)
	}
	p := &page{w: stdout}
	p.line("profile     %s", f.profile)
	p.line("caller      %s", caller)
	p.line("answer      refused: NOT_GRANTED")
	if len(near) == 0 {
		p.line("\nno grant has this profile for any caller of this kind, nor another profile for this caller")
	} else {
		const most = 20
		p.title("grants that came near")
		width := 0
		for i, miss := range near {
			if i < most {
				width = max(width, len(miss.Rule))
			}
		}
		for i, miss := range near {
			if i == most {
				p.line("  and %d others", len(near)-most)
				break
			}
			p.row(miss.Rule, width, strings.Join(miss.Why, "; "))
		}
	}
	if p.err != nil {
		return fail(exitFailure, p.err)
	}
	return fail(exitDenied, errors.New("refused: no token would be minted"))
}

// explainGrant returns what a server with this configuration would answer to
// ExplainToken with every key at hand.
func explainGrant(cfg *config.Config, grant policy.Grant, req claims.Request, now time.Time) (*jotsmithv1.ExplainTokenResponse, error) {
	explained, err := claims.New(cfg.ClaimProfiles, nil, cfg.Narrowings()...).Explain(grant, req, now)
	if err != nil {
		return nil, err
	}
	resp := &jotsmithv1.ExplainTokenResponse{Grant: grant.Rule(), Limits: explained.Limits, ConfigGeneration: cfg.Generation}
	if grant.Quota() != (policy.Quota{}) {
		resp.Limits = append(resp.Limits, "the grant "+grant.Rule()+" gives each caller "+quota.Words(grant.Quota()))
	}
	for _, d := range explained.Decisions {
		resp.Decisions = append(resp.Decisions, &jotsmithv1.ClaimDecision{Name: d.Name, Rule: d.Rule, Doc: d.Doc, Present: d.Present})
	}
	if explained.Refusal != nil {
		refusal, err := refusalOf(explained.Refusal)
		if err != nil {
			return nil, err
		}
		resp.Refusals = append(resp.Refusals, refusal.Proto())
		return resp, nil
	}
	header, err := headerOf(cfg, explained.Set)
	if err != nil {
		return nil, err
	}
	resp.Header, resp.Claims = string(header), string(explained.Set.Payload())
	if explained.TTL > 0 {
		resp.Ttl = durationpb.New(explained.TTL)
	}
	return resp, nil
}

// parseCaller reads what --as and --claim say.
func parseCaller(spec string, tokenClaims []string) (authn.Caller, error) {
	if spec == authn.FromLoopback().String() && len(tokenClaims) == 0 {
		return authn.FromLoopback(), nil
	}
	scheme, rest, ok := strings.Cut(spec, ":")
	if !ok || rest == "" {
		return authn.Caller{}, fmt.Errorf("--as: %q is none of unix:uid=U,gid=G, spiffe://..., uri:URI, dns:NAME, email:ADDR, oidc:ISSUER:SUB and loopback", spec)
	}
	if len(tokenClaims) > 0 && scheme != "oidc" {
		return authn.Caller{}, errors.New("--claim: only a caller oidc:ISSUER:SUB has claims")
	}
	switch scheme {
	case "unix":
		return parseUnix(rest)
	case "oidc":
		return parseToken(rest, tokenClaims)
	case "dns":
		return fromNames(&x509.Certificate{DNSNames: []string{rest}})
	case "email":
		return fromNames(&x509.Certificate{EmailAddresses: []string{rest}})
	case "uri":
		spec = rest
	case "spiffe":
	default:
		return authn.Caller{}, fmt.Errorf("--as: there is no kind of caller %q; there is unix, spiffe, uri, dns, email and oidc", scheme)
	}
	u, err := url.Parse(spec)
	if err != nil || u.Scheme == "" {
		return authn.Caller{}, fmt.Errorf("--as: %q is not a URI", spec)
	}
	return fromNames(&x509.Certificate{URIs: []*url.URL{u}})
}

func fromNames(leaf *x509.Certificate) (authn.Caller, error) {
	caller, err := authn.FromCertificate(leaf)
	if err != nil {
		return authn.Caller{}, fmt.Errorf("--as: %w", err)
	}
	return caller, nil
}

func parseUnix(text string) (authn.Caller, error) {
	wrong := fmt.Errorf("--as: %q is not uid=U,gid=G; a process has both", text)
	uidText, gidText, ok := strings.Cut(text, ",")
	uidText, hasUID := strings.CutPrefix(uidText, "uid=")
	gidText, hasGID := strings.CutPrefix(gidText, "gid=")
	if !ok || !hasUID || !hasGID {
		return authn.Caller{}, wrong
	}
	uid, uidErr := strconv.ParseUint(uidText, 10, 32)
	gid, gidErr := strconv.ParseUint(gidText, 10, 32)
	if uidErr != nil || gidErr != nil {
		return authn.Caller{}, wrong
	}
	return authn.FromUnix(authn.Unix{UID: uint32(uid), GID: uint32(gid)}), nil
}

func parseToken(text string, pairs []string) (authn.Caller, error) {
	issuer, sub, ok := strings.Cut(text, ":")
	if !ok || issuer == "" || sub == "" {
		return authn.Caller{}, fmt.Errorf("--as: %q is not ISSUER:SUB", text)
	}
	tokenClaims := map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if _, twice := tokenClaims[name]; !ok || name == "" || twice {
			return authn.Caller{}, fmt.Errorf("--claim: %q is not NAME=VALUE with a name of its own", pair)
		}
		tokenClaims[name] = value
	}
	return authn.FromToken(authn.Token{Issuer: issuer, Subject: sub, Claims: tokenClaims}, time.Time{}), nil
}
