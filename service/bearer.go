package service

import (
	"context"
	"errors"

	"github.com/jotsmith/jotsmith/service/authn"
)

// Bearers knows callers by the tokens that they send. Package oidc has one.
type Bearers interface {
	// Caller verifies a token and returns who holds it, known until the token is
	// over. It may wait for a provider's keys until ctx ends. The error is for
	// the log and holds nothing of the token that could be used.
	Caller(ctx context.Context, token string) (authn.Caller, error)
}

var errNoIssuers = errors.New("a bearer token came, and no issuer is configured")

// caller returns who makes a call under this configuration: by the bearer token that he sends, or else
// by his connection. A token that is not accepted is never made up for by the
// connection. The error says why there is none, for the log alone.
func (in *Generation) caller(ctx context.Context) (authn.Caller, error) {
	token, sent, err := authn.Bearer(ctx)
	switch {
	case err != nil:
		return authn.Caller{}, err
	case !sent:
		return authn.FromContext(ctx)
	}
	if in.Bearers == nil {
		return authn.Caller{}, errNoIssuers
	}
	return in.Bearers.Caller(ctx, token)
}
