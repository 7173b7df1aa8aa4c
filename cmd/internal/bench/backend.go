package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/filekey"
	"github.com/jotsmith/jotsmith/backends/pkcs11"
)

// openBackend is the job of signing through one of the backends, without the
// server around it.
func openBackend(ctx context.Context, uri, keyID string, workers int) (job, error) {
	log := slog.New(slog.DiscardHandler)
	var store backends.KeyBackend
	var err error
	switch scheme, _, _ := strings.Cut(uri, ":"); scheme {
	case filekey.Scheme:
		store, err = filekey.Open(ctx, uri, log)
	case pkcs11.Scheme:
		store, err = pkcs11.Open(ctx, uri, log)
	case awskms.Scheme:
		store, err = awskms.Open(ctx, uri, log)
	default:
		err = fmt.Errorf("no backend for %s", uri)
	}
	if err != nil {
		return job{}, err
	}
	if _, err := store.Describe(ctx, keyID); err != nil {
		return job{}, err
	}
	sign := func(ctx context.Context, i int) (int, error) {
		_, err := store.Sign(ctx, keyID, backends.Digest(digestOf(i)))
		return 1, err
	}
	return job{
		run: func(ctx context.Context, d time.Duration) (sample, error) {
			return work(ctx, workers, d, ownCPU, sign)
		},
		close: store.Close,
	}, nil
}
