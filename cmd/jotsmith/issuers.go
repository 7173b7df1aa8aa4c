package main

import (
	"context"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
)

// openIssuers returns what knows callers by the tokens of a configuration's
// issuers; nil without any. An issuer that cannot be reached is logged and is
// no error: the other callers are served.
func openIssuers(ctx context.Context, cfg *config.Config, keys *oidc.Keys) (service.Bearers, error) {
	issuers, err := cfg.TokenIssuers()
	if err != nil || len(issuers) == 0 {
		return nil, err
	}
	verifier, err := keys.Verifier(issuers)
	if err != nil {
		return nil, err
	}
	verifier.Warm(ctx)
	return verifier, nil
}
