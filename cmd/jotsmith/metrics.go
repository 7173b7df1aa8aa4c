package main

import (
	"context"
	"net/http"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/metrics"
)

// metricsConnections is how many connections may be open to the metrics: a few
// Prometheus servers, and whoever looks.
const metricsConnections = 32

// newMetrics returns the metrics of a server, which asks for its state at each
// scrape.
func newMetrics(state func() metrics.State) *metrics.Metrics {
	cfg := service.MetricsConfig()
	cfg.Version, cfg.State = versionText(), state
	return metrics.New(cfg)
}

// metricsListener returns the listener that serves the metrics and nothing else.
func (s *server) metricsListener(ctx context.Context, m *configv1.Metrics) (*listener, error) {
	where := address{network: "tcp", name: m.GetAddress()}
	if u := m.GetUnix(); u != nil {
		var err error
		if where, err = describeSocket(u); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.service.Metrics.Handler(s.log))
	return &listener{address: where, own: metricsConnections, server: newHTTPServer(ctx, mux, s.log)}, nil
}

// state is the service's, with what the program knows of reloads and
// certificates.
func (s *server) state() metrics.State {
	state := s.service.State()
	reloads := s.reloader.report()
	state.TakenUp, state.LastReload, state.LastRefused = reloads.Since, reloads.Last, reloads.Err != nil
	state.Reloads, state.RefusedReloads = reloads.Taken, reloads.Refused
	for _, c := range s.reloader.certificates() {
		state.Certificates = append(state.Certificates, metrics.Certificate{Listener: c.Address, NotAfter: c.NotAfter})
	}
	return state
}
