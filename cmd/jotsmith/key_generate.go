package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/backends"
)

func newKeyGenerate() *cobra.Command {
	var target keyTarget
	var output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "generate URI",
		Short: "Make a key in a file, in AWS KMS or in an HSM",
		Long: `Make an ECDSA P-256 key under the name that the URI gives it, prove it by a
signature, and print its public half and the lines for the configuration. A name
that is taken is refused: no key is ever replaced. Only this command and key
import make keys; a server never does.

  file:    a file of mode 0600 in PKCS#8, in a directory that nobody else may write
  awskms:  a key of the spec ECC_NIST_P256 and the usage SIGN_VERIFY under alias/NAME
           --set multi-region=true, --set description=TEXT, --set tag:NAME=VALUE,
           --set resume=ARN to go on with a key that an interrupted run left
  pkcs11:  a key pair that signs and does nothing else, sensitive and not extractable

docs/keys.md says what each needs. The steps are told on standard error.`,
		Example: `  jotsmith key generate file:/etc/jotsmith/keys/issuer.p8
  jotsmith key generate 'awskms:alias/issuer?region=eu-west-1' --set tag:team=payments
  jotsmith key generate 'pkcs11:token=prod;object=issuer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/jotsmith/pin'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := checkOutput(output); err != nil {
				return err
			}
			if err := target.parse(cmd, args[0]); err != nil {
				return err
			}
			made, err := target.generate(ctx, cmd)
			if err != nil {
				return err
			}
			return printOutput(cmd.OutOrStdout(), output, made)
		},
	}
	target.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the key store")
	return cmd
}

// generated is what `jotsmith key generate` prints.
type generated struct {
	URI         string `json:"uri"`
	description `json:",inline"`
	Notes       []string `json:"notes,omitempty"`
	Config      string   `json:"config"`
}

func (k *keyTarget) generate(ctx context.Context, cmd *cobra.Command) (generated, error) {
	how, err := k.making(cmd.ErrOrStderr(), nil)
	if err != nil {
		return generated{}, err
	}
	store, err := k.openMaker(ctx, k.backend, k.log)
	if err != nil {
		return generated{}, fail(exitOperator, err)
	}
	defer store.Close()
	generator, ok := store.(backends.Generator)
	if !ok {
		return generated{}, fail(exitUsage, fmt.Errorf("keys cannot be made in a store of the scheme %s", k.name))
	}
	made, err := generator.Generate(ctx, k.id, how)
	if err != nil {
		return generated{}, makingFault(err)
	}
	d, err := newDescription(made.KeyInfo)
	if err != nil {
		return generated{}, fail(exitFailure, err)
	}
	return generated{k.uri, d, made.Notes, k.suggest(d.Thumbprint, d).yaml()}, nil
}

func (g generated) text() string {
	return fmt.Sprintf("uri           %s\n%s\n%s\n# for the configuration; the kid is yours to choose\n%s",
		g.URI, g.description.text(), notesText(g.Notes), g.Config[:len(g.Config)-1])
}
