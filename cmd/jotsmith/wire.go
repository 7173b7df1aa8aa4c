package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/quota"
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

// abreast is how many calls of one party are worked on at the same time for each
// processor, where all keys are in this process, and half as many while others have
// calls: enough that the processor has work while most of them wait for the disk, and few
// enough that the others come soon.
const abreast = 32

// wire makes a server of a configuration file, top to bottom: key stores and
// keys, service, listeners. Nothing is listened on yet. When it fails, all that
// it opened is closed again. A dry one is for looking whether it can be made, and
// changes nothing.
func wire(ctx context.Context, file string, cfg *config.Config, dry bool, log *slog.Logger) (_ *server, err error) {
	clk := clock.System()
	minted, err := ledger.Open(cfg.GetLedgerFile(), rand.Reader, log)
	if err != nil {
		return nil, err
	}
	keyHealth := newKeyHealth()
	var svc *service.Service // which is there before the first checkpoint
	var s *server            // which is there before the first scrape
	counted := newMetrics(func() metrics.State { return s.state() })
	calls := new(atomic.Int64)
	records, err := openAudit(cfg, counted.Audit, calls, log, func(ctx context.Context, digest [32]byte) ([64]byte, string, error) {
		return svc.SignCheckpoint(ctx, cfg.GetAudit().GetCheckpointKey(), digest)
	})
	if err != nil {
		return nil, err
	}
	now := func() (time.Time, error) { return clk.Now().Time() }
	versions, err := openVersions(ctx, cfg, dry, records, minted, now, func() { svc.KeysChanged() }, log)
	if err != nil {
		return nil, errors.Join(err, closeLog(records))
	}
	tokenKeys := oidc.NewKeys(oidc.KeysConfig{Now: time.Now, Random: rand.Reader, Log: log})
	var first *generation
	defer func() {
		if err == nil {
			return
		}
		if s != nil {
			err = errors.Join(err, s.reloader.closeSources())
		}
		tokenKeys.Close()
		if first != nil {
			err = errors.Join(err, first.close())
		}
		err = errors.Join(err, closeLog(records))
	}()
	outlive := books{records, minted, versions, counted, runtime.GOMAXPROCS(0)}
	if first, err = openGeneration(ctx, cfg, keyHealth.next(), outlive, tokenKeys, log); err != nil {
		return nil, err
	}
	stops, err := halt.Open(cfg.GetAdmin().GetStateFile())
	if err != nil {
		return nil, err
	}
	limits := cfg.GetLimits()
	tokens := reuse.New(reuse.Config{MaxBytes: uint64(limits.GetTokenCacheMib()) << 20, Random: rand.Reader, Log: log})
	svc = service.New(service.Config{
		First:   first.Generation,
		Clock:   clk,
		Tokens:  tokens,
		Ledger:  minted,
		Watches: service.WatchLimits{PerCaller: int(limits.GetMaxWatchesPerCaller()), Total: int(limits.GetMaxWatches())},
		Halt:    stops,
		Quotas:  quota.New(quota.MaxBuckets),
		Audit:   records,
		Metrics: counted,
		Random:  rand.Reader,
		Log:     log,

		MaxCalls: int(limits.GetMaxCalls()),
		Calls:    calls,
		Abreast:  abreast * outlive.processors,
	})
	keyHealth.onChange = svc.KeysChanged
	keyHealth.adopt(first.health)

	s = &server{
		service:  svc,
		tokens:   tokens,
		health:   keyHealth,
		reloader: newReloader(file, first, svc, keyHealth, outlive, tokenKeys, log),
		grace:    limits.GetShutdownGrace().AsDuration(),
		log:      log,
	}
	for i, l := range cfg.GetListeners() {
		address, trust, err := describeListener(l)
		if err == nil && l.GetTcp().GetSpiffe() != nil {
			trust, err = s.reloader.follow(ctx, i, l.GetTcp())
		}
		if err != nil {
			return nil, err
		}
		if l.GetTcp().GetPlaintextLoopback() {
			log.WarnContext(ctx, "in plaintext, any process on this machine can be a caller, and whatever one of them passes on", "address", address.String())
		}
		creds := credentialsOf(l, trust)
		var answers protocol
		if l.GetHttp() != nil {
			answers = newCallServer(ctx, svc, l.GetHttp(), creds, limits.GetRequestTimeout().AsDuration(), log)
		} else {
			answers = service.NewServer(svc, service.ServerConfig{
				Credentials: creds,
				MaxStreams:  limits.GetMaxStreamsPerConnection(),
				Reflection:  cfg.GetReflection(),
				Health:      keyHealth.server,
				Log:         log,
			})
		}
		s.listeners = append(s.listeners, &listener{address: address, server: answers})
		s.reloader.trusts = append(s.reloader.trusts, trust)
	}
	if p := cfg.GetPublish(); p.GetAddress() != "" {
		l, certificate, err := newPublisher(ctx, p, svc, log)
		if err != nil {
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		s.reloader.published = certificate
	}
	if a := cfg.GetAdmin(); a != nil {
		s.listeners = append(s.listeners, &listener{
			address: address{"unix", a.GetPath(), 0o600},
			own:     adminConnections,
			server: service.NewAdmin(service.AdminConfig{
				Service: svc,
				UIDs:    a.GetUids(),
				Version: versionText(),
				Start:   time.Now(),
				Reload:  s.reloader.ask,
				Status:  s.reloader.report,
				Log:     log,

				Certificates: s.reloader.certificates,
			}),
		})
	}
	if m := cfg.GetMetrics(); m != nil {
		l, err := s.metricsListener(ctx, m)
		if err != nil {
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// adminConnections is how many connections operators may have open: their own,
// so that callers who take all others do not keep them from stopping things.
const adminConnections = 32

// close closes the key stores and then the record, in which the last checkpoint
// is by then. Nothing must be running any more.
func (s *server) close() error {
	err := errors.Join(s.reloader.current.close(), s.reloader.closeSources())
	s.reloader.tokenKeys.Close()
	return errors.Join(err, closeLog(s.service.Audit), s.service.Ledger.Close())
}

func closeLog(records *audit.Log) error {
	if records == nil {
		return nil
	}
	return records.Close()
}

// openAudit opens the record of every token; nil where the configuration wants
// none.
func openAudit(cfg *config.Config, counted *metrics.Audit, calls *atomic.Int64, log *slog.Logger, sign func(context.Context, [32]byte) ([64]byte, string, error)) (*audit.Log, error) {
	a := cfg.GetAudit()
	if a == nil {
		return nil, nil
	}
	out := audit.Config{
		Path:     a.GetFile(),
		Sync:     audit.Mode(a.GetSync()),
		MaxBytes: int64(a.GetMaxFileMib()) << 20,
		Log:      log,
		Metrics:  counted,
		Company:  func() int { return int(calls.Load()) },
	}
	if a.GetCheckpointKey() != "" {
		out.Checkpoint = &audit.Checkpoint{Every: a.GetCheckpointInterval().AsDuration(), Sign: sign}
	}
	return audit.Open(out)
}
