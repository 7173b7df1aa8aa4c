package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

func newServe() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the server",
		Long: `Run the server that FILE describes until SIGTERM or SIGINT. It then refuses new
connections, lets the calls under way finish, and exits with 0. A second signal
ends it at once.

FILE is read anew when its content changes and at SIGHUP. What is wrong in it
then changes nothing, and is logged.

The server writes its log to standard error, a line for each call.`,
		Example: `  jotsmith serve --config /etc/jotsmith/jotsmith.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file, checkURI)
			if err != nil {
				return fail(exitConfig, err)
			}
			log, flush := newLog(cmd.ErrOrStderr(), cfg.GetLog())
			defer flush()
			return runServer(cmd.Context(), file, cfg, log)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration file; - reads standard input")
	_ = cmd.MarkFlagRequired("config") // the flag exists
	return cmd
}

// spareProcessors times as many threads as there are processors run Go code where
// the environment sets no GOMAXPROCS. Go looks for what has come in over the
// network when a thread has nothing else to do, or every 10 ms: with a signature
// in each thread, nobody's call would be seen in time, however short his line.
// Signatures have turns as many as there are processors, so with twice the
// threads some are always free to look.
const spareProcessors = 2

func runServer(ctx context.Context, file string, cfg *config.Config, log *slog.Logger) error {
	log.InfoContext(ctx, "starting", "version", versionText(), "config_generation", cfg.Generation)
	s, err := wire(ctx, file, cfg, false, log)
	if err != nil {
		return fail(exitConfig, err)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(spareProcessors * runtime.GOMAXPROCS(0))
	}
	return fail(exitFailure, s.serve(ctx, int(cfg.GetLimits().GetMaxConnections())))
}

// serve listens and answers until ctx ends, then stops: health says so, calls
// under way have the grace to finish, then the key stores are closed.
func (s *server) serve(ctx context.Context, maxConnections int) error {
	if err := s.service.Ledger.Own(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	s.reloader.adopt(ctx, s.reloader.current)
	connections := make(chan struct{}, maxConnections)
	for _, l := range s.listeners {
		if err := l.listen(ctx, connections); err != nil {
			return errors.Join(err, s.stop(), s.close())
		}
	}
	group, running := errgroup.WithContext(ctx)
	trigger := make(chan struct{}, 1)
	group.Go(func() error { return s.reloader.run(running, trigger) })
	group.Go(func() error { return s.changes(running, trigger) })
	group.Go(func() error { return s.service.Publish(running) })
	if versions := s.service.First.Versions; versions != nil {
		group.Go(func() error { return versions.Run(running) })
	}
	if s.service.Audit != nil {
		group.Go(func() error { return s.service.Audit.Run(running) })
	}
	for _, l := range s.listeners {
		s.log.InfoContext(ctx, "listening", "address", l.String())
		group.Go(func() error {
			err := l.server.Serve(l.listener)
			if errors.Is(err, grpc.ErrServerStopped) { // before it began
				return nil
			}
			return err
		})
	}
	group.Go(func() error {
		<-running.Done()
		return s.stop()
	})
	err := errors.Join(group.Wait(), s.close()) // by now nothing is reloaded any more
	s.log.InfoContext(ctx, "stopped")
	return err
}

// stop ends the server in order.
func (s *server) stop() error {
	s.log.Info("stopping", "grace", s.grace.String())
	s.health.server.Shutdown()
	s.service.Drain()
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		var all errgroup.Group
		for _, l := range s.listeners {
			all.Go(func() error { l.server.GracefulStop(); return nil })
		}
		_ = all.Wait() // GracefulStop has no error
	}()
	select {
	case <-graceful:
	case <-time.After(s.grace):
		s.log.Warn("calls were still under way when the grace was over")
		for _, l := range s.listeners {
			l.server.Stop()
		}
		<-graceful
	}
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.remove())
	}
	s.tokens.Close()
	return errors.Join(errs...)
}
