package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, or print its schema",
	}
	group(cmd, newConfigCheck(), newConfigSchema())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Find every problem of a configuration",
		Long: `Do with FILE all that serve does before it listens: read it, open the key
stores, read the keys, and have each sign a canary. Every problem in the file is
printed as path:line:column with what to do about it.

A PKCS#11 token's PIN is used as serve would use it; a wrong one counts as a try.
A SPIFFE agent is asked for the server's SVID, so run it as the user that serves.`,
		Example: `  jotsmith config check /etc/jotsmith/jotsmith.yaml
  jotsmith config check --offline jotsmith.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0], checkURI)
			if err != nil {
				return fail(exitConfig, err)
			}
			if !offline {
				log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
				cfg.Audit = nil // a server that runs has it open, and only one can
				s, err := wire(cmd.Context(), args[0], cfg, true, log)
				if err != nil {
					return fail(exitConfig, err)
				}
				if err := s.close(); err != nil {
					return fail(exitFailure, err)
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is fine: %d keys, %d profiles, %d grants, generation %s\n",
				args[0], len(cfg.SigningKeys), len(cfg.ClaimProfiles), len(cfg.PolicyRules), cfg.Generation)
			return fail(exitFailure, err)
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "look at the file alone; open no key store and no certificate")
	return cmd
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Example: `  jotsmith config schema > jotsmith.schema.json
  # then, as the first line of the configuration:
  # yaml-language-server: $schema=jotsmith.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema)
			return fail(exitFailure, err)
		},
	}
}
