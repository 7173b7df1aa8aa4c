package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verified is a token that go-jose has accepted.
type verified struct {
	header, claims json.RawMessage
	left           time.Duration // until it expires
}

// verify checks a token as its receiver would, with code that had no part in
// making it: the server puts the token together itself and signs with
// crypto/ecdsa. keySet is the server's JWK Set.
func verify(token, keySet string, now time.Time) (verified, error) {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keySet), &keys); err != nil {
		return verified{}, fmt.Errorf("JWK Set of the server: %w", err)
	}
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return verified{}, fmt.Errorf("token: %w", err)
	}
	if got := signed.Headers[0].KeyID; got != kid {
		return verified{}, fmt.Errorf("token has the kid %q, the configuration %q", got, kid)
	}
	var claims jwt.Claims
	var raw json.RawMessage
	if err := signed.Claims(keys, &claims, &raw); err != nil {
		return verified{}, fmt.Errorf("signature: %w", err)
	}
	if claims.Expiry == nil || claims.IssuedAt == nil {
		return verified{}, errors.New("token has no exp or no iat")
	}
	expected := jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: now}
	if err := claims.ValidateWithLeeway(expected, 0); err != nil {
		return verified{}, fmt.Errorf("claims: %w", err)
	}
	first, _, _ := strings.Cut(token, ".")
	header, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return verified{}, fmt.Errorf("header: %w", err)
	}
	return verified{header, raw, claims.Expiry.Time().Sub(now).Round(time.Second)}, nil
}
