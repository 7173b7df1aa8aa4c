package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/filekey"
	"github.com/jotsmith/jotsmith/backends/pkcs11"
)

// scheme is one kind of key store.
type scheme struct {
	name  string
	open  func(ctx context.Context, uri string, log *slog.Logger) (backends.KeyBackend, error)
	check func(uri string) error
	split func(keyURI string) (backendURI, keyID string, err error)
}

// schemes is the list of backends; there is no other.
func schemes() []scheme {
	return []scheme{
		{filekey.Scheme, opener(filekey.Open), filekey.CheckURI, filekey.SplitKeyURI},
		{awskms.Scheme, opener(awskms.Open), awskms.CheckURI, awskms.SplitKeyURI},
		{pkcs11.Scheme, opener(pkcs11.Open), pkcs11.CheckURI, pkcs11.SplitKeyURI},
	}
}

// runChildIfAsked is for the first line of main: with isolate=true a PKCS#11
// module lives in a child process, which is this program again.
func runChildIfAsked() { pkcs11.RunChildIfAsked() }

// opener turns a backend's Open into one that returns the interface.
func opener[B backends.KeyBackend](open func(context.Context, string, *slog.Logger) (B, error)) func(context.Context, string, *slog.Logger) (backends.KeyBackend, error) {
	return func(ctx context.Context, uri string, log *slog.Logger) (backends.KeyBackend, error) {
		backend, err := open(ctx, uri, log)
		if err != nil {
			return nil, err // not backend: a nil of its type would not be a nil interface
		}
		return backend, nil
	}
}

// schemeOf returns the scheme that a URI names.
func schemeOf(uri string) (scheme, error) {
	var known []string
	for _, s := range schemes() {
		if strings.HasPrefix(uri, s.name+":") {
			return s, nil
		}
		known = append(known, s.name+":")
	}
	return scheme{}, fmt.Errorf("no key store is known by this URI; it starts with %s", strings.Join(known, " or "))
}

// checkURI says what is wrong with a backend's URI.
func checkURI(uri string) error {
	s, err := schemeOf(uri)
	if err != nil {
		return err
	}
	return s.check(uri)
}

// openBackend opens the key store of a backend's URI.
func openBackend(ctx context.Context, uri string, log *slog.Logger) (backends.KeyBackend, error) {
	s, err := schemeOf(uri)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, uri, log)
}
