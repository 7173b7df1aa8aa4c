package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/signer"
)

// server is everything that one configuration makes.
type server struct {
	service   *service.Service
	tokens    *reuse.Cache
	signer    *signer.Signer
	health    *keyHealth
	listeners []*listener
	grace     time.Duration
	log       *slog.Logger
}

// wire makes a server of a configuration, top to bottom: key stores, signer,
// service, listeners. Nothing is listened on yet. When it fails, all that it
// opened is closed again.
func wire(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *server, err error) {
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
		stores[name] = signer.Store{
			Backend:     backend,
			MaxInFlight: int(b.GetMaxInFlight()),
			MaxQueue:    int(b.GetMaxQueue()),
			MinTime:     b.GetMinTime().AsDuration(),
		}
	}

	var svc *service.Service // which is there before a key's health can change again
	keyHealth := newKeyHealth()
	keys, err := signer.New(signer.Config{
		Stores:  stores,
		Keys:    cfg.SigningKeys,
		Timeout: cfg.GetLimits().GetRequestTimeout().AsDuration(),
		Random:  rand.Reader,
		Log:     log,
		OnHealth: func(key string, healthy bool) {
			keyHealth.set(key, healthy)
			if svc != nil {
				svc.KeysChanged()
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := keys.Load(ctx); err != nil {
		return nil, err
	}

	expiry, err := ledger.Open(cfg.GetLedgerFile(), log)
	if err != nil {
		return nil, err
	}
	limits := cfg.GetLimits()
	tokens := reuse.New(reuse.Config{MaxBytes: uint64(limits.GetTokenCacheMib()) << 20, Random: rand.Reader, Log: log})
	svc = service.New(service.Config{
		First: &service.Generation{
			ID:     cfg.Generation,
			Policy: policy.New(cfg.PolicyRules),
			Claims: claims.New(cfg.ClaimProfiles, rand.Reader),
			Signer: keys,
		},
		Clock:   clock.System(),
		Tokens:  tokens,
		Expiry:  expiry,
		Watches: service.WatchLimits{PerCaller: int(limits.GetMaxWatchesPerCaller()), Total: int(limits.GetMaxWatches())},
		Random:  rand.Reader,
		Log:     log,
	})

	s := &server{
		service: svc,
		tokens:  tokens,
		signer:  keys,
		health:  keyHealth,
		grace:   cfg.GetLimits().GetShutdownGrace().AsDuration(),
		log:     log,
	}
	for _, l := range cfg.GetListeners() {
		address, credentials, err := describeListener(l)
		if err != nil {
			return nil, err
		}
		grpcServer := service.NewServer(svc, service.ServerConfig{
			Credentials: credentials,
			MaxStreams:  cfg.GetLimits().GetMaxStreamsPerConnection(),
			Reflection:  cfg.GetReflection(),
			Health:      keyHealth.server,
			Log:         log,
		})
		s.listeners = append(s.listeners, &listener{address: address, server: grpcServer})
	}
	return s, nil
}
