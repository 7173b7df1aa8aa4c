package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/signer"
)

// keyTarget is where a command makes a key.
type keyTarget struct {
	scheme
	uri     string // as it was given
	backend string // the backend's part of it
	id      string // the key's part of it
	set     []string
	log     *slog.Logger
}

func (k *keyTarget) addFlags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&k.set, "set", nil, "a setting of the key store, `NAME=VALUE`; may be repeated (docs/backends)")
}

// parse reads the key's URI.
func (k *keyTarget) parse(cmd *cobra.Command, uri string) (err error) {
	k.uri = uri
	if k.scheme, err = schemeOf(uri); err != nil {
		return fail(exitUsage, err)
	}
	if k.backend, k.id, err = k.split(uri); err != nil {
		return fail(exitUsage, err)
	}
	k.log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return nil
}

// making is what the key store is told. What it does is reported to w.
func (k *keyTarget) making(w io.Writer, want *ecdsa.PublicKey) (backends.Making, error) {
	settings := map[string]string{}
	for _, s := range k.set {
		name, value, ok := strings.Cut(s, "=")
		if _, twice := settings[name]; !ok || name == "" || twice {
			return backends.Making{}, fail(exitUsage, fmt.Errorf("--set %q: want NAME=VALUE, each name once", s))
		}
		settings[name] = value
	}
	steps := 0
	return backends.Making{
		Settings: settings,
		Random:   rand.Reader,
		Prove:    func(ctx context.Context, id string) error { return k.prove(ctx, id, want) },
		Report: func(step backends.Step, outcome string) {
			if outcome == "" {
				steps++
				fmt.Fprintf(w, "%2d. %s\n", steps, step.Does)
				return
			}
			fmt.Fprintf(w, "    %s\n", outcome)
		},
	}, nil
}

// prove opens the store as a server does, and has the key sign what no token can
// look like. Where want is known, the key must be its private half.
func (k *keyTarget) prove(ctx context.Context, id string, want *ecdsa.PublicKey) error {
	backend, err := k.open(ctx, k.backend, k.log)
	if err != nil {
		return err
	}
	defer backend.Close() //nolint:errcheck // the process ends
	info, err := backend.Describe(ctx, id)
	if err != nil {
		return err
	}
	if want == nil {
		want = info.PublicKey
	}
	if !info.PublicKey.Equal(want) {
		return &backends.Error{Op: "prove", KeyID: id, Kind: backends.ErrKeyMismatch, Err: errors.New("the store shows another key's public half than the file's")}
	}
	canary, err := signer.Canary(rand.Reader)
	if err != nil {
		return err
	}
	sig, err := backend.Sign(ctx, id, canary)
	if err != nil {
		return err
	}
	if !sig.Verify(want, canary) {
		return &backends.Error{Op: "prove", KeyID: id, Kind: backends.ErrSignatureInvalid, Err: errors.New("a signature of the key does not verify with its public half")}
	}
	return nil
}

// makingFault is the error that a making ends a command with: what is left in
// the store on lines of its own.
func makingFault(err error) error {
	if err == nil {
		return nil
	}
	code := exitOperator
	switch {
	case errors.Is(err, backends.ErrNotMade):
		code = exitUsage
	case errors.Is(err, backends.ErrThrottled), errors.Is(err, backends.ErrUnavailable),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = exitTryAgain
	}
	unfinished, ok := errors.AsType[*backends.UnfinishedError](err)
	if !ok {
		return fail(code, err)
	}
	why := unfinished.Err
	if named, ok := errors.AsType[*backends.Error](err); ok {
		why = &backends.Error{Op: named.Op, KeyID: named.KeyID, Kind: named.Kind, Err: unfinished.Err}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v", why)
	for _, left := range unfinished.Left {
		fmt.Fprintf(&b, "\nleft is %s", left.What)
		if left.Resume != "" {
			fmt.Fprintf(&b, "\n  go on with it:  the same command with --set %s", left.Resume)
		}
		fmt.Fprintf(&b, "\n  remove it:      %s", left.Remove)
	}
	return fail(code, errors.New(b.String()))
}

// suggested is what a configuration says of a key in a store.
type suggested struct {
	backend, uri string
	name, id     string
	kid          string
	spki         string
}

func (k *keyTarget) suggest(kid string, d description) suggested {
	return suggested{k.as, k.backend, keyName(k.id), k.id, kid, d.SPKISHA256}
}

// keyName makes a name for a key of its id: NAME of alias/team/NAME, of
// dir/NAME.p8, of id=%01;object=NAME.
func keyName(id string) string {
	if _, label, ok := strings.Cut(id, "object="); ok {
		id, _, _ = strings.Cut(label, ";")
	}
	id = strings.TrimSuffix(strings.TrimSuffix(path.Base(id), ".p8"), ".pem")
	name := strings.Trim(regexp.MustCompile("[^A-Za-z0-9_-]+").ReplaceAllString(id, "-"), "-_")
	return cmp.Or(name[:min(len(name), 63)], "key")
}

func (s suggested) backendLine() string {
	return fmt.Sprintf("%s: {uri: %s}", s.backend, strconv.Quote(s.uri))
}

func (s suggested) keyLine() string {
	return fmt.Sprintf("%s: {backend: %s, id: %s, kid: %s, spki_sha256: %s}", s.name, s.backend, strconv.Quote(s.id), strconv.Quote(s.kid), strconv.Quote(s.spki))
}

// yaml is a piece of configuration.
func (s suggested) yaml() string {
	return "backends:\n  " + s.backendLine() + "\nkeys:\n  " + s.keyLine() + "\n"
}

func notesText(notes []string) string {
	var b strings.Builder
	for _, note := range notes {
		fmt.Fprintf(&b, "note          %s\n", note)
	}
	return b.String()
}
