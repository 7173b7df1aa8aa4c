package oidc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of what is taken over from a token.
const (
	maxClaims     = 64
	maxClaim      = 1 << 10 // bytes of a value, and of a name
	maxKID        = 256
	leeway        = 60 * time.Second // how far another's clock may be ahead
	longestExpiry = 24 * time.Hour
)

// parsed is a token that was read and not verified.
type parsed struct {
	alg      jose.SignatureAlgorithm
	kid      string
	issuer   string
	subject  string
	audience []string
	expiry   time.Time
	notYet   time.Time // the later of nbf and iat, zero without
	claims   map[string]string
}

// parse reads a token strictly: duplicate names, invalid UTF-8, padding, times
// that are no integers, and anything critical are refused.
func parse(token string) (*parsed, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("bearer token is not a JWT")
	}
	header, err := decode(parts[0])
	if err != nil {
		return nil, fmt.Errorf("header of the bearer token: %w", err)
	}
	payload, err := decode(parts[1])
	if err != nil {
		return nil, fmt.Errorf("claims of the bearer token: %w", err)
	}
	t := &parsed{claims: map[string]string{}}
	if err := t.header(header); err != nil {
		return nil, fmt.Errorf("header of the bearer token: %w", err)
	}
	if err := t.payload(payload); err != nil {
		return nil, fmt.Errorf("claims of the bearer token: %w", err)
	}
	return t, nil
}

func decode(part string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("not base64url without padding")
	}
	return data, nil
}

func (t *parsed) header(data []byte) error {
	err := members(data, func(name string, value jsontext.Value) error {
		switch name {
		case "alg":
			alg, err := text(value)
			t.alg = jose.SignatureAlgorithm(alg)
			return err
		case "kid":
			kid, err := text(value)
			t.kid = kid
			return err
		case "typ":
			typ, err := text(value)
			if err != nil {
				return err
			}
			// RFC 8725 section 3.11: a logout token, for one, is no proof of who sends it.
			switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
			case "jwt", "at+jwt":
				return nil
			}
			return errors.New("it is neither JWT nor at+jwt")
		case "crit":
			return errors.New("nothing critical is understood")
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case t.kid == "":
		return errors.New("no kid")
	case len(t.kid) > maxKID:
		return errors.New("kid is too long")
	}
	return nil
}

func (t *parsed) payload(data []byte) error {
	err := members(data, func(name string, value jsontext.Value) (err error) {
		switch name {
		case "iss":
			t.issuer, err = text(value)
		case "sub":
			t.subject, err = text(value)
		case "aud":
			t.audience, err = texts(value)
		case "exp":
			t.expiry, err = instant(value)
		case "nbf", "iat":
			var at time.Time
			if at, err = instant(value); at.After(t.notYet) {
				t.notYet = at
			}
		case "cnf": // RFC 7800
			err = errors.New("the token is bound to a key, which a bearer does not prove")
		}
		if err != nil {
			return err
		}
		return t.keep(name, value)
	})
	switch {
	case err != nil:
		return err
	case t.issuer == "":
		return errors.New("no iss")
	case t.subject == "":
		return errors.New("no sub")
	case t.expiry.IsZero():
		return errors.New("no exp")
	}
	return nil
}

// keep takes over a claim that is a string, a number or a boolean. One too many
// or too long is refused and not left out: an expression that looks for its
// absence must not find it.
func (t *parsed) keep(name string, value jsontext.Value) error {
	var kept string
	switch value.Kind() {
	case '"':
		var err error
		if kept, err = text(value); err != nil {
			return err
		}
	case '0', 't', 'f':
		kept = string(value)
	default:
		return nil
	}
	switch {
	case len(kept) > maxClaim || len(name) > maxClaim:
		return errors.New("it is longer than 1 KiB")
	case len(t.claims) == maxClaims:
		return errors.New("more than 64 claims")
	}
	t.claims[name] = kept
	return nil
}

// acceptable checks everything that the signature will only confirm.
func (i *issuer) acceptable(t *parsed, now time.Time) error {
	switch {
	case !slices.Contains(i.Algorithms, string(t.alg)):
		return fmt.Errorf("alg %s is not among the issuer's", brief(string(t.alg)))
	case !slices.ContainsFunc(t.audience, func(aud string) bool { return slices.Contains(i.Audiences, aud) }):
		return errors.New("aud names none of the audiences")
	case !now.Before(t.expiry):
		return errors.New("it has expired")
	case t.expiry.Sub(now) > longestExpiry:
		return errors.New("it is valid for more than 24 hours from now")
	case t.notYet.After(now.Add(leeway)):
		return errors.New("nbf or iat is more than 60 seconds ahead")
	}
	return nil
}

// members calls visit with each member of a JSON object, and nothing may come
// after it. jsontext refuses duplicate names and invalid UTF-8, and bounds the
// depth.
func members(data []byte, visit func(name string, value jsontext.Value) error) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if dec.PeekKind() != '{' {
		return errors.New("not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return errors.New("not a JSON object")
	}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return errors.New("not valid JSON, or a name stands twice")
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return errors.New("not valid JSON, or a name stands twice")
		}
		if err := visit(name, value); err != nil {
			return fmt.Errorf("%s: %w", brief(name), err)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return errors.New("not valid JSON")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func text(value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", errors.New("not a string")
	}
	plain, err := jsontext.AppendUnquote(nil, value)
	return string(plain), err
}

// texts reads a string or an array of strings.
func texts(value jsontext.Value) ([]string, error) {
	if value.Kind() == '"' {
		one, err := text(value)
		return []string{one}, err
	}
	var all []string
	err := items(value, func(item jsontext.Value) error {
		one, err := text(item)
		all = append(all, one)
		return err
	})
	return all, err
}

// instant reads a NumericDate of whole seconds, from 1970 to 9999.
func instant(value jsontext.Value) (time.Time, error) {
	const end = 253402300800
	seconds, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || seconds <= 0 || seconds >= end {
		return time.Time{}, errors.New("not a time in whole seconds")
	}
	return time.Unix(seconds, 0), nil
}

// brief is a stranger's text as the log takes it.
func brief(text string) string {
	const most = 100
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
