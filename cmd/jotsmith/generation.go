package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// generation is what one configuration made: its rules, and its keys in their
// opened stores.
type generation struct {
	*service.Generation
	cfg    *config.Config
	rings  rings
	health *generationHealth

	stop    context.CancelFunc
	watched chan struct{} // closed when the watch over the keys has ended
}

// books are what outlives a generation: where each signature is written down, and
// which versions of keys sign.
type books struct {
	records  *audit.Log // nil where the configuration wants none
	minted   *ledger.Ledger
	versions *rotation.Keeper // nil where no key has any
	counted  *metrics.Metrics

	// processors are those that the server may use: as many signatures are made
	// at once in this process. 0 is one.
	processors int
}

// openGeneration opens the key stores of a configuration, reads every key and
// has it sign a canary. When it fails, all that it opened is closed again.
func openGeneration(ctx context.Context, cfg *config.Config, health *generationHealth, books books, tokenKeys *oidc.Keys, log *slog.Logger) (_ *generation, err error) {
	bearers, err := openIssuers(ctx, cfg, tokenKeys)
	if err != nil {
		return nil, err
	}
	stores := map[string]signer.Store{}
	defer func() {
		if err != nil {
			for _, store := range stores {
				err = errors.Join(err, store.Backend.Close())
			}
		}
	}()
	for name, b := range cfg.GetBackends() {
		backend, err := openBackend(ctx, b.GetUri(), log.With("backend", name))
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", name, err)
		}
		scheme, _, _ := strings.Cut(b.GetUri(), ":")
		stores[name] = signer.Store{
			Backend:     backend,
			Scheme:      scheme,
			Metrics:     books.counted.Backend(name),
			MaxInFlight: cmp.Or(int(b.GetMaxInFlight()), books.processors, 1),
			MaxQueue:    int(b.GetMaxQueue()),
			MinTime:     b.GetMinTime().AsDuration(),
		}
	}
	keys, err := signer.New(signer.Config{
		Stores:   stores,
		Keys:     toLoad(cfg.SigningKeys, books.versions),
		Timeout:  cfg.GetLimits().GetRequestTimeout().AsDuration(),
		Random:   rand.Reader,
		Log:      log,
		OnHealth: health.set,
		OnVersion: func() {
			if books.versions != nil {
				books.versions.Ask()
			}
		},
		Record: service.NewRecorder(books.records, books.minted, cfg.Generation),
	})
	if err != nil {
		return nil, err
	}
	if err := keys.Load(ctx); err != nil {
		return nil, err
	}
	versioned := rings{cfg, keys}
	if books.versions != nil {
		if err := books.versions.Prepare(ctx, versioned); err != nil {
			return nil, err
		}
	}
	return &generation{
		Generation: &service.Generation{
			ID:     cfg.Generation,
			Policy: policy.New(cfg.PolicyRules),
			Claims: claims.New(cfg.ClaimProfiles, rand.Reader, cfg.Narrowings()...),
			Signer: keys,

			Bearers:   bearers,
			Published: cfg.Published,
			Versions:  books.versions,

			VerifierCache: verifierCaches(cfg),
		},
		cfg:    cfg,
		rings:  versioned,
		health: health,
	}, nil
}

// watch has the keys that cannot sign tried again, until close or ctx ends.
func (g *generation) watch(ctx context.Context) {
	ctx, g.stop = context.WithCancel(ctx)
	g.watched = make(chan struct{})
	go func() {
		defer close(g.watched)
		_ = g.Signer.Run(ctx) // it returns nil
	}()
}

// close waits until no call uses the generation, and closes its key stores.
func (g *generation) close() error {
	if g.stop != nil {
		g.stop()
		<-g.watched
	}
	return g.Signer.Close()
}
