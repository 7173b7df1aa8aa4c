package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/reuse"
)

// server is the program while it serves.
type server struct {
	service   *service.Service
	tokens    *reuse.Cache
	health    *keyHealth
	reloader  *reloader
	listeners []*listener
	grace     time.Duration
	log       *slog.Logger
}

// wire makes a server of a configuration file, top to bottom: key stores and
// keys, service, listeners. Nothing is listened on yet. When it fails, all that
// it opened is closed again.
func wire(ctx context.Context, file string, cfg *config.Config, log *slog.Logger) (_ *server, err error) {
	keyHealth := newKeyHealth()
	first, err := openGeneration(ctx, cfg, keyHealth.next(), log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, first.close())
		}
	}()

	expiry, err := ledger.Open(cfg.GetLedgerFile(), log)
	if err != nil {
		return nil, err
	}
	limits := cfg.GetLimits()
	tokens := reuse.New(reuse.Config{MaxBytes: uint64(limits.GetTokenCacheMib()) << 20, Random: rand.Reader, Log: log})
	svc := service.New(service.Config{
		First:   first.Generation,
		Clock:   clock.System(),
		Tokens:  tokens,
		Expiry:  expiry,
		Watches: service.WatchLimits{PerCaller: int(limits.GetMaxWatchesPerCaller()), Total: int(limits.GetMaxWatches())},
		Random:  rand.Reader,
		Log:     log,
	})
	keyHealth.onChange = svc.KeysChanged
	keyHealth.adopt(first.health)

	s := &server{
		service:  svc,
		tokens:   tokens,
		health:   keyHealth,
		reloader: newReloader(file, first, svc, keyHealth, log),
		grace:    limits.GetShutdownGrace().AsDuration(),
		log:      log,
	}
	for _, l := range cfg.GetListeners() {
		address, credentials, err := describeListener(l)
		if err != nil {
			return nil, err
		}
		grpcServer := service.NewServer(svc, service.ServerConfig{
			Credentials: credentials,
			MaxStreams:  limits.GetMaxStreamsPerConnection(),
			Reflection:  cfg.GetReflection(),
			Health:      keyHealth.server,
			Log:         log,
		})
		s.listeners = append(s.listeners, &listener{address: address, server: grpcServer})
	}
	return s, nil
}

// close closes what wire has opened and serve has not yet run.
func (s *server) close() error { return s.reloader.current.close() }
