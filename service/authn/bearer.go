package authn

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// MaxBearer is the longest token that Bearer returns, in bytes.
const MaxBearer = 8 << 10

// Bearer returns the token that a call carries as `authorization: Bearer ...`
// in its metadata, unverified. Without that metadata, sent is false. Whoever
// sends it wants to be known by it: what is wrong with it is an error, and
// never a reason to fall back on the connection. The error, for the log alone,
// repeats nothing of what was sent.
func Bearer(ctx context.Context) (token string, sent bool, err error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 0 {
		return "", false, nil
	}
	token, err = parseBearer(values)
	if err != nil {
		return "", true, err
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", true, errors.New("no peer")
	}
	id, ok := p.AuthInfo.(identity)
	if !ok || id.SecurityLevel != credentials.PrivacyAndIntegrity {
		return "", true, errors.New("a bearer token came over a connection that others can read")
	}
	return token, true, nil
}

// parseBearer takes the token out of the values of `authorization` (RFC 6750
// section 2.1), where it has the form of a JWT in compact serialization.
func parseBearer(values []string) (string, error) {
	const scheme = "bearer "
	if len(values) != 1 {
		return "", errors.New("more than one authorization value")
	}
	value := values[0]
	switch {
	case len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme):
		return "", errors.New("authorization is not of the scheme Bearer")
	case len(value) == len(scheme):
		return "", errors.New("bearer token is empty")
	case len(value)-len(scheme) > MaxBearer:
		return "", errors.New("bearer token is longer than 8 KiB")
	}
	token := value[len(scheme):]
	dots := 0
	for _, c := range []byte(token) {
		switch {
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_':
		case c == '.':
			dots++
		default:
			return "", errors.New("bearer token has a character that no JWT has")
		}
	}
	if dots != 2 {
		return "", errors.New("bearer token is not a JWT")
	}
	return token, nil
}
