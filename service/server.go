package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/metrics"
)

// The bounds of one connection. grpc-go's own defaults are no bounds.
const (
	maxMessage   = 64 << 10
	maxHeader    = 16 << 10
	handshake    = 10 * time.Second
	maxIdle      = 15 * time.Minute
	maxAge       = 10 * time.Minute
	maxAgeGrace  = 30 * time.Second
	minPing      = 30 * time.Second
	streamWorker = 128
)

// ServerConfig is what NewServer needs beside the Service.
type ServerConfig struct {
	Credentials credentials.TransportCredentials
	MaxStreams  uint32 // calls under way on one connection
	Reflection  bool
	Health      *health.Server
	Log         *slog.Logger
}

// NewServer returns the gRPC server of one listener, with every bound set and
// all services registered.
func NewServer(s *Service, cfg ServerConfig) *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(cfg.Credentials),
		grpc.ConnectionTimeout(handshake),
		grpc.MaxConcurrentStreams(cfg.MaxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		// A signature needs a deep stack; goroutines that stay have grown theirs.
		grpc.NumStreamWorkers(streamWorker),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     maxIdle,
			MaxConnectionAge:      maxAge,
			MaxConnectionAgeGrace: maxAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPing,
			PermitWithoutStream: true,
		}),
		grpc.ChainUnaryInterceptor(recoverUnary(cfg.Log, s.Metrics), s.gate.unary),
		grpc.ChainStreamInterceptor(recovery.StreamServerInterceptor(onPanic(cfg.Log, s.Metrics))),
	)
	jotsmithv1.RegisterTokenServiceServer(server, s)
	jotsmithv1.RegisterProfileServiceServer(server, s)
	jotsmithv1.RegisterKeyServiceServer(server, s)
	healthv1.RegisterHealthServer(server, cfg.Health)
	if cfg.Reflection {
		reflection.Register(server)
	}
	return server
}

// onPanic turns a panic into one INTERNAL error.
func onPanic(log *slog.Logger, counted *metrics.Metrics) recovery.Option {
	return recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		counted.Panic()
		// The value of a panic may hold anything, so its type alone is logged.
		log.ErrorContext(ctx, "panic in a call", "type", fmt.Sprintf("%T", p))
		return toStatus(errPanic).Err()
	})
}

func recoverUnary(log *slog.Logger, counted *metrics.Metrics) grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(onPanic(log, counted))
}
