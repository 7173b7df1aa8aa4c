package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/service/token"
)

func newInspect() *cobra.Command {
	var keysFile string
	var useServer bool
	var c client
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "inspect TOKEN|-",
		Short: "Decode a token, and verify it where keys are given",
		Long: `Print a token's header, claims and times. "-" reads the token from standard
input, which keeps it out of the list of processes.

With --keys FILE (a JWK Set, a JWK, or a PEM public key or certificate) or
--server (the keys of the server at --address) the signature is verified too,
as ES256 alone, and a token that does not verify ends the command with 8.
Without, nothing is said about who made the token.`,
		Example: `  jotsmith token --profile asc | jotsmith inspect -
  jotsmith token --profile asc | jotsmith inspect - --server
  jotsmith inspect eyJ... --keys jwks.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readToken(args[0], cmd.InOrStdin())
			if err != nil {
				return fail(exitFailure, err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var keys *jose.JSONWebKeySet
			switch {
			case keysFile != "" && useServer:
				return fail(exitUsage, errors.New("--keys and --server exclude each other"))
			case keysFile != "":
				keys, err = readKeys(keysFile)
			case useServer:
				var set jose.JSONWebKeySet
				set, err = c.keySet(ctx, "")
				keys = &set
			}
			if err != nil {
				return err
			}
			return inspect(cmd.OutOrStdout(), text, keys, time.Now())
		},
	}
	cmd.Flags().StringVar(&keysFile, "keys", "", "verify with the keys in this file: JWK Set, JWK or PEM")
	cmd.Flags().BoolVar(&useServer, "server", false, "verify with the keys of the server at --address")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the server")
	c.addFlags(cmd.Flags())
	return cmd
}

// report is what inspect prints.
type report struct {
	Header   jsontext.Value `json:"header"`
	Claims   jsontext.Value `json:"claims"`
	Issued   string         `json:"issued,omitzero"`
	Expires  string         `json:"expires,omitzero"`
	Verified string         `json:"verified"`
}

// inspect prints what a token says and, given keys, whether one of them signed
// it. An expired token is reported as such, not refused.
func inspect(w io.Writer, text string, keys *jose.JSONWebKeySet, now time.Time) error {
	decoded, err := token.Decode(text)
	if err != nil {
		return fail(exitFailure, fmt.Errorf("not a JWT: %w", err))
	}
	r := report{Header: decoded.Header, Claims: decoded.Claims, Verified: "not checked; give --keys FILE or --server"}
	r.times(now)
	var verifyErr error
	if keys != nil {
		kid, err := verify(text, keys)
		if err != nil {
			r.Verified, verifyErr = "no: "+err.Error(), fail(exitUnverified, errors.New("the token does not verify: "+err.Error()))
		} else {
			r.Verified = "yes, by key " + kid
		}
	}
	if err := printJSON(w, r); err != nil {
		return fail(exitFailure, err)
	}
	return verifyErr
}

// times says iat and exp in words, where they are NumericDates.
func (r *report) times(now time.Time) {
	var claims struct {
		IssuedAt *int64 `json:"iat"`
		Expires  *int64 `json:"exp"`
	}
	if json.Unmarshal(r.Claims, &claims) != nil {
		return // other types than ours; the claims are printed as they are
	}
	if claims.IssuedAt != nil {
		r.Issued = inWords(time.Unix(*claims.IssuedAt, 0), now)
	}
	if claims.Expires != nil {
		r.Expires = inWords(time.Unix(*claims.Expires, 0), now)
	}
}

func inWords(t, now time.Time) string {
	distance := t.Sub(now).Round(time.Second)
	if distance >= 0 {
		return fmt.Sprintf("%s, in %s", t.UTC().Format(time.RFC3339), distance)
	}
	return fmt.Sprintf("%s, %s ago", t.UTC().Format(time.RFC3339), -distance)
}

// verify returns the kid of the key that signed, ES256 alone.
func verify(text string, keys *jose.JSONWebKeySet) (string, error) {
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", errors.New("not signed with ES256")
	}
	kid := signed.Signatures[0].Header.KeyID
	candidates := keys.Keys
	if named := keys.Key(kid); kid != "" && len(named) > 0 {
		candidates = named
	}
	for _, key := range candidates {
		if key.KeyID != "" && key.KeyID != kid {
			continue
		}
		if _, err := signed.Verify(key.Key); err == nil {
			return kid, nil
		}
	}
	return "", fmt.Errorf("none of the %d keys fits; its kid is %q", len(keys.Keys), kid)
}

func readToken(arg string, stdin io.Reader) (string, error) {
	if arg != "-" {
		return strings.TrimSpace(arg), nil
	}
	data, err := io.ReadAll(io.LimitReader(stdin, token.MaxSize+2))
	return strings.TrimSpace(string(data)), err
}

// maxKeysFile is the largest file of keys that is read, in bytes.
const maxKeysFile = 1 << 20

// readKeys reads public keys: a JWK Set, a JWK or PEM.
func readKeys(path string) (*jose.JSONWebKeySet, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKeysFile))
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	var set jose.JSONWebKeySet
	if json.Unmarshal(data, &set) == nil && len(set.Keys) > 0 {
		return &set, nil
	}
	var one jose.JSONWebKey
	if one.UnmarshalJSON(data) == nil {
		return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{one}}, nil
	}
	if block, _ := pem.Decode(data); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key}}}, nil
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: cert.PublicKey}}}, nil
		}
	}
	return nil, fail(exitUsage, fmt.Errorf("%s is no JWK Set, JWK, PEM public key or PEM certificate", path))
}
