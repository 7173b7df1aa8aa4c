package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/token"
)

// tokenFlags are the flags of `jotsmith token`.
type tokenFlags struct {
	client  client
	profile string
	claims  string
	ttl     time.Duration
	atLeast time.Duration
	output  string
	decode  bool
	explain bool
	watch   bool
	timeout time.Duration
}

func newToken() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token --profile P",
		Short: "Print a token, or why there is none",
		Long: `Ask a server for a token of a profile and print it, alone, on standard output.

Claims are a JSON object, or @FILE to read one, or @- for standard input.

With --explain no token is made: it prints what the token would be and which
rule decided each claim, or every reason why there would be none. The exit code
is the one that the request itself would end with.

With --watch it prints a token at once, and a new one on a line of its own
whenever the last should be replaced, until it is interrupted (exit code 0) or
the server ends it.`,
		Example: `  jotsmith token --profile asc
  jotsmith token --profile asc --ttl 5m --claims '{"scope":["GET /v1/apps"]}'
  jotsmith token --profile asc --claims '{"scope":["GET /v1/apps"]}' --explain
  jotsmith token --profile asc --min-remaining 8m
  jotsmith token --profile ci --claims @claims.json --decode
  jotsmith token --profile ci --watch | while read -r token; do echo "$token" > /run/ci/token; done
  jotsmith token --profile ci -o json --address jotsmith.example.org:8443 \
    --tls-ca ca.pem --tls-cert me.pem --tls-key me.key
  curl -H "Authorization: Bearer $(jotsmith token --profile asc)" https://api.appstoreconnect.apple.com/v1/apps`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.Flags(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.profile, "profile", "p", "", "the profile, as the server's configuration names it")
	flags.StringVar(&f.claims, "claims", "", "the claims as a JSON object, @FILE, or @- for standard input")
	flags.DurationVar(&f.ttl, "ttl", 0, "how long the token is to be valid, as in 10m (default: the profile's)")
	flags.DurationVar(&f.atLeast, "min-remaining", 0, "how long a token that was made before must still be valid (default: a third of its life)")
	flags.StringVarP(&f.output, "output", "o", "token", "token, or json for the server's whole answer")
	flags.BoolVar(&f.decode, "decode", false, "print the token's header and claims instead of the token")
	flags.BoolVar(&f.explain, "explain", false, "print what the token would be, and why; make none")
	flags.BoolVar(&f.watch, "watch", false, "print a token, and each that replaces it, until interrupted")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the server")
	f.client.addFlags(flags)
	_ = cmd.MarkFlagRequired("profile") // the flag exists
	return cmd
}

func (f *tokenFlags) run(ctx context.Context, flags *pflag.FlagSet, stdin io.Reader, stdout io.Writer) error {
	if f.output != "token" && f.output != "json" {
		return fail(exitUsage, fmt.Errorf("--output is token or json, not %q", f.output))
	}
	if f.explain && f.watch || f.explain && f.decode || f.watch && f.decode {
		return fail(exitUsage, errors.New("--decode, --explain and --watch exclude each other"))
	}
	claimsJSON, err := readClaims(f.claims, stdin)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("--claims: %w", err))
	}
	req := &jotsmithv1.MintTokenRequest{Profile: f.profile, Claims: claimsJSON}
	if flags.Changed("ttl") {
		req.Ttl = durationpb.New(f.ttl)
	}
	if flags.Changed("min-remaining") {
		req.MinRemaining = durationpb.New(f.atLeast)
	}
	conn, err := f.client.dial()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the process ends
	tokens := jotsmithv1.NewTokenServiceClient(conn)
	switch {
	case f.explain:
		return f.explainToken(ctx, tokens, req, stdout)
	case f.watch:
		return f.watchToken(ctx, tokens, req, stdout)
	}
	return f.mintToken(ctx, tokens, req, stdout)
}

// mintToken prints one token.
func (f *tokenFlags) mintToken(ctx context.Context, tokens jotsmithv1.TokenServiceClient, req *jotsmithv1.MintTokenRequest, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	resp, err := tokens.MintToken(ctx, req)
	if err != nil {
		return f.client.fault(err)
	}
	text, err := f.render(resp)
	if err != nil {
		return fail(exitFailure, err)
	}
	_, err = fmt.Fprintln(stdout, text)
	return fail(exitFailure, err)
}

// render writes the answer as the flags ask for it.
func (f *tokenFlags) render(resp *jotsmithv1.MintTokenResponse) (string, error) {
	switch {
	case f.decode:
		decoded, err := token.Decode(resp.GetToken())
		if err != nil {
			return "", err
		}
		return indent(jsontext.Value(fmt.Sprintf(`{"header":%s,"claims":%s}`, decoded.Header, decoded.Claims)))
	case f.output == "json":
		data, err := protoJSON(resp)
		if err != nil {
			return "", err
		}
		if f.watch { // an object a line
			err = data.Compact()
			return string(data), err
		}
		return indent(data)
	default:
		return resp.GetToken(), nil
	}
}

// protoJSON writes a message as JSON, its fields named as in the proto.
func protoJSON(m proto.Message) (jsontext.Value, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
}

// printProto prints a message as JSON for people.
func printProto(w io.Writer, m proto.Message) error {
	data, err := protoJSON(m)
	if err != nil {
		return err
	}
	return printValue(w, data)
}

// printJSON writes a value as JSON for people.
func printJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return printValue(w, data)
}

// printValue writes JSON for people.
func printValue(w io.Writer, value jsontext.Value) error {
	text, err := indent(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// indent returns JSON for people.
func indent(value jsontext.Value) (string, error) {
	err := value.Indent(jsontext.WithIndent("  "))
	return string(value), err
}

// readClaims returns the claims that a flag gives or names.
func readClaims(flag string, stdin io.Reader) (string, error) {
	name, isFile := strings.CutPrefix(flag, "@")
	if !isFile {
		return flag, nil
	}
	source := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer file.Close()
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, claims.MaxBytes+1))
	if err == nil && len(data) > claims.MaxBytes {
		err = fmt.Errorf("longer than %d bytes", claims.MaxBytes)
	}
	return string(data), err
}
