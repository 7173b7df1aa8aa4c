package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/publish"
)

// publishIdleTime is how long a verifier, who may be anybody, keeps a connection
// between two requests.
const publishIdleTime = 30 * time.Second

// serverCertificate is a server's certificate, which a reload replaces: the next
// handshake is with the new one.
type serverCertificate struct {
	atomic.Pointer[tls.Certificate]
}

// newPublisher returns the listener of the published keys, and its certificate;
// nil where it speaks plaintext.
func newPublisher(ctx context.Context, p *configv1.Publish, svc *service.Service, log *slog.Logger) (*listener, *serverCertificate, error) {
	server := newHTTPServer(ctx, publish.Handler(svc.Site, svc.Metrics.Published, log), log)
	server.server.IdleTimeout = publishIdleTime
	l := &listener{address: address{network: "tcp", name: p.GetAddress()}, server: server, own: int(p.GetMaxConnections())}
	if p.GetCertificateFile() == "" {
		if host, _, err := net.SplitHostPort(p.GetAddress()); err != nil || !config.Loopback(host) {
			log.WarnContext(ctx, "keys are published in plaintext; have something in front speak TLS, for who changes a key on its way can make tokens", "address", p.GetAddress())
		}
		return l, nil, nil
	}
	pair, err := readCertificate(p)
	if err != nil {
		return nil, nil, err
	}
	certificate := &serverCertificate{}
	certificate.Store(&pair)
	server.server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate.Load(), nil
		},
	}
	return l, certificate, nil
}
