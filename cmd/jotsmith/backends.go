package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/filekey"
	"github.com/jotsmith/jotsmith/backends/pkcs11"
	"github.com/jotsmith/jotsmith/cmd/internal/doctor"
)

// scheme is one kind of key store.
type scheme struct {
	name  string
	open  func(ctx context.Context, uri string, log *slog.Logger) (backends.KeyBackend, error)
	check func(uri string) error
	split func(keyURI string) (backendURI, keyID string, err error)

	// openMaker opens the store to make keys in it. The commands that make keys
	// are the only ones to call it, which a test sees to.
	openMaker func(ctx context.Context, uri string, log *slog.Logger) (io.Closer, error)
	as        string // what a backend of this kind is called in a suggested configuration
}

// schemes is the list of backends; there is no other.
func schemes() []scheme {
	return []scheme{
		{filekey.Scheme, opener(filekey.Open), filekey.CheckURI, filekey.SplitKeyURI, maker(filekey.OpenMaker), "local"},
		{awskms.Scheme, opener(awskms.Open), awskms.CheckURI, awskms.SplitKeyURI, maker(awskms.OpenMaker), "kms"},
		{pkcs11.Scheme, opener(pkcs11.Open), pkcs11.CheckURI, pkcs11.SplitKeyURI, maker(pkcs11.OpenMaker), "hsm"},
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

// maker does the same for a backend's OpenMaker.
func maker[M io.Closer](open func(context.Context, string, *slog.Logger) (M, error)) func(context.Context, string, *slog.Logger) (io.Closer, error) {
	return func(ctx context.Context, uri string, log *slog.Logger) (io.Closer, error) {
		store, err := open(ctx, uri, log)
		if err != nil {
			return nil, err
		}
		return store, nil
	}
}

// readPrivateKey reads a key file for its import, as strictly as one that
// serves. The caller wipes the key.
func readPrivateKey(ctx context.Context, path string) (*backends.PrivateKey, error) {
	return filekey.ReadPrivateKey(ctx, path)
}

// keyFile returns the path of a key's file; empty if the key is in none.
func keyFile(backendURI, id string) string { return filekey.Path(backendURI, id) }

// examined says what a doctor may do with the key store of a URI: nothing where
// no store is known by it.
func examined(uri string, log *slog.Logger) doctor.Store {
	s, err := schemeOf(uri)
	if err != nil {
		return doctor.Store{}
	}
	open := func(ctx context.Context) (backends.KeyBackend, error) { return s.open(ctx, uri, log) }
	switch s.name {
	case filekey.Scheme:
		return doctor.Store{Open: open, File: func(id string) string { return filekey.Path(uri, id) }}
	case awskms.Scheme:
		return doctor.Store{Open: open, Endpoint: func(ctx context.Context) (*http.Client, string, error) { return awskms.Endpoint(ctx, uri) }}
	case pkcs11.Scheme:
		return doctor.Store{Token: func(ctx context.Context) (pkcs11.TokenState, error) { return pkcs11.Look(ctx, uri) }}
	}
	return doctor.Store{Open: open}
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
