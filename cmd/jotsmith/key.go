package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/signer"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Look at keys, make them, move them into a store, publish and rotate them",
	}
	group(cmd, newKeyDescribe(), newKeyList(), newKeyGenerate(), newKeyImport(), newKeyPublish(),
		newKeyVersions(), newKeyRotate(), newKeyDrop())
	return cmd
}

func newKeyDescribe() *cobra.Command {
	var output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "describe URI",
		Short: "Print the public half of a key and what to pin",
		Long: `Read a key from its store, without a server, and print its canonical identity,
its public key, the SHA-256 digest of its SubjectPublicKeyInfo (spki_sha256 in
the configuration), its thumbprint (RFC 7638) and its JWK. The private half
stays where it is.`,
		Example: `  jotsmith key describe file:/etc/jotsmith/keys/AuthKey_2X9R4HXF34.p8
  jotsmith key describe 'awskms:alias/asc?region=eu-west-1'
  jotsmith key describe 'pkcs11:token=prod;object=asc?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/jotsmith/pin'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			d, err := describe(ctx, args[0], log)
			if err != nil {
				return err
			}
			return printOutput(cmd.OutOrStdout(), output, d)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the key store")
	return cmd
}

// description is what `jotsmith key describe` prints.
type description struct {
	CanonicalID string         `json:"canonical_id"`
	SPKISHA256  string         `json:"spki_sha256"`
	Thumbprint  string         `json:"thumbprint"`
	JWK         jsontext.Value `json:"jwk"`
	PublicKey   string         `json:"public_key"`
}

// describe reads the key that a URI names.
func describe(ctx context.Context, uri string, log *slog.Logger) (description, error) {
	s, err := schemeOf(uri)
	if err != nil {
		return description{}, fail(exitUsage, err)
	}
	backendURI, id, err := s.split(uri)
	if err != nil {
		return description{}, fail(exitUsage, err)
	}
	backend, err := s.open(ctx, backendURI, log)
	if err != nil {
		return description{}, fail(exitOperator, err)
	}
	defer backend.Close() //nolint:errcheck // the process ends
	info, err := backend.Describe(ctx, id)
	if err != nil {
		return description{}, fail(exitOperator, err)
	}
	d, err := newDescription(info)
	return d, fail(exitFailure, err)
}

func newDescription(info backends.KeyInfo) (description, error) {
	spki, err := x509.MarshalPKIXPublicKey(info.PublicKey)
	if err != nil {
		return description{}, err
	}
	key := jose.JSONWebKey{Key: info.PublicKey}
	thumbprint, err := signer.Thumbprint(info.PublicKey)
	if err != nil {
		return description{}, err
	}
	jwk, err := key.MarshalJSON()
	if err != nil {
		return description{}, err
	}
	digest := sha256.Sum256(spki)
	return description{
		CanonicalID: info.CanonicalID,
		SPKISHA256:  hex.EncodeToString(digest[:]),
		Thumbprint:  thumbprint,
		JWK:         jwk,
		PublicKey:   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})),
	}, nil
}

// text is the description for people.
func (d description) text() string {
	return fmt.Sprintf("canonical id  %s\nspki_sha256   %s\nthumbprint    %s\njwk           %s\n%s",
		d.CanonicalID, d.SPKISHA256, d.Thumbprint, d.JWK, strings.TrimSuffix(d.PublicKey, "\n"))
}

// printOutput writes what a command found, as --output says.
func printOutput(w io.Writer, output string, found interface{ text() string }) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	if output == "json" {
		return fail(exitFailure, printJSON(w, found))
	}
	_, err := fmt.Fprintln(w, found.text())
	return fail(exitFailure, err)
}

func checkOutput(output string) error {
	if output != "json" && output != "text" {
		return fail(exitUsage, fmt.Errorf("--output is text or json, not %q", output))
	}
	return nil
}

func newKeyList() *cobra.Command {
	var c client
	var profile string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print a server's keys as a JWK Set",
		Long: `Ask a server for the public keys of the profiles that you may mint and print
them as a JWK Set (RFC 7517 section 5).`,
		Example: `  jotsmith key list > keys.json
  jotsmith inspect "$(jotsmith token --profile asc)" --keys keys.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			set, err := c.keySet(ctx, profile)
			if err != nil {
				return err
			}
			return fail(exitFailure, printJSON(cmd.OutOrStdout(), set))
		},
	}
	cmd.Flags().StringVarP(&profile, "profile", "p", "", "only the key of this profile")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the server")
	c.addFlags(cmd.Flags())
	return cmd
}

// keySet asks the server for the keys of one profile, or of all.
func (c *client) keySet(ctx context.Context, profile string) (jose.JSONWebKeySet, error) {
	conn, err := c.dial()
	if err != nil {
		return jose.JSONWebKeySet{}, err
	}
	defer conn.Close() //nolint:errcheck // one call was all
	resp, err := jotsmithv1.NewKeyServiceClient(conn).ListKeys(ctx, &jotsmithv1.ListKeysRequest{Profile: profile})
	if err != nil {
		return jose.JSONWebKeySet{}, c.fault(err)
	}
	var set jose.JSONWebKeySet
	for _, key := range resp.GetKeys() {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON([]byte(key.GetJwk())); err != nil {
			return jose.JSONWebKeySet{}, fail(exitFailure, fmt.Errorf("key %s of the server: %w", key.GetKid(), err))
		}
		set.Keys = append(set.Keys, jwk)
	}
	return set, nil
}
