// Verifiers verifies tokens with JOSE libraries for Go that Jotsmith does not use:
// verifiers keyfunc|jwx. The former is golang-jwt with keys by keyfunc. Standard input
// and output are those of verify.py. It is a module of its own, so that the
// program links none of them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
)

// given is what standard input holds.
type given struct {
	JWKS     string   `json:"jwks"`
	Issuer   string   `json:"issuer"`
	Audience string   `json:"audience"`
	Tokens   []string `json:"tokens"`
}

// verifier returns the sub of a token that verifies.
type verifier func(token string) (sub string, err error)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, library string) error {
	var in given
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	libraries := map[string]func(context.Context, given) (verifier, error){"keyfunc": byKeyfunc, "jwx": byJWX}
	open, ok := libraries[library]
	if !ok {
		return errors.New("keyfunc or jwx")
	}
	verify, err := open(ctx, in)
	if err != nil {
		return err
	}
	for _, token := range in.Tokens {
		if sub, err := verify(token); err != nil {
			fmt.Println("no", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("yes", sub)
		}
	}
	return nil
}

func byKeyfunc(ctx context.Context, in given) (verifier, error) {
	keys, err := keyfunc.NewDefaultCtx(ctx, []string{in.JWKS})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(in.Issuer), jwt.WithAudience(in.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	)
	return func(token string) (string, error) {
		parsed, err := parser.Parse(token, keys.Keyfunc)
		if err != nil {
			return "", err
		}
		return parsed.Claims.GetSubject()
	}, nil
}

func byJWX(ctx context.Context, in given) (verifier, error) {
	keys, err := jwk.Fetch(ctx, in.JWKS)
	if err != nil {
		return nil, err
	}
	return func(token string) (string, error) {
		parsed, err := jwxjwt.Parse(
			[]byte(token), jwxjwt.WithKeySet(keys, jws.WithRequireKid(true)),
			jwxjwt.WithIssuer(in.Issuer), jwxjwt.WithAudience(in.Audience),
			jwxjwt.WithRequiredClaim("exp"), jwxjwt.WithRequiredClaim("iat"),
		)
		if err != nil {
			return "", err
		}
		message, err := jws.Parse([]byte(token))
		if err != nil {
			return "", err
		}
		if alg, ok := message.Signatures()[0].ProtectedHeaders().Algorithm(); !ok || alg != jwa.ES256() {
			return "", errors.New("not ES256")
		}
		sub, _ := parsed.Subject()
		return sub, nil
	}, nil
}
