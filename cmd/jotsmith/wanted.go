package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

// wanted is the token that a command gets for a program: which server mints it,
// and what is asked for.
type wanted struct {
	client  client
	profile string
	claims  string
	ttl     time.Duration
	atLeast time.Duration
	timeout time.Duration
}

// addFlags adds the flags, which are those of `jotsmith token`.
func (w *wanted) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&w.profile, "profile", "p", "", "the profile, as the server's configuration names it")
	flags.StringVar(&w.claims, "claims", "", "the claims as a JSON object, or @FILE")
	flags.DurationVar(&w.ttl, "ttl", 0, "how long the token is to be valid, as in 10m (default: the profile's)")
	flags.DurationVar(&w.atLeast, "min-remaining", 0, "how long a token that was made before must still be valid (default: a third of its life)")
	flags.DurationVar(&w.timeout, "timeout", 10*time.Second, "how long to wait for the server")
	w.client.addFlags(flags)
}

// options returns what is asked for, beside the profile.
func (w *wanted) options(stdin io.Reader) ([]jotsmithgo.Option, error) {
	if w.claims == "@-" {
		return nil, fail(exitUsage, errors.New("--claims: standard input is not free here; use @FILE"))
	}
	claims, err := readClaims(w.claims, stdin)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("--claims: %w", err))
	}
	options := []jotsmithgo.Option{jotsmithgo.TTL(w.ttl), jotsmithgo.MinRemaining(w.atLeast)}
	if claims != "" {
		options = append(options, jotsmithgo.Claims(claims))
	}
	return options, nil
}

// connect returns the library's client of the server.
func (w *wanted) connect() (*jotsmithgo.Client, error) {
	settings, err := w.client.settings()
	if err != nil {
		return nil, err
	}
	settings.Timeout = w.timeout
	c, err := jotsmithgo.Connect(w.client.address, jotsmithgo.With(settings))
	return c, dialFault(err)
}

// fault turns an error of the library's into what a person reads.
func (w *wanted) fault(err error) error {
	if _, ours := errors.AsType[*exitError](err); ours {
		return err
	}
	return w.client.fault(err)
}
