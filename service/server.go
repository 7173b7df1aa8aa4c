package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/httpjson"
	"github.com/jotsmith/jotsmith/service/metrics"
)

// The bounds of one connection. grpc-go's own defaults are no bounds.
const (
	maxMessage   = 64 << 10
	maxHeader    = 16 << 10
	minPing      = 30 * time.Second
	streamWorker = 128

	// What a stream may send ahead of being read: a message, and grpc-go takes no
	// less. By itself it would grow to 16 MiB for whoever sends fast, for each
	// stream. A connection's window is given back as it is filled, so it holds
	// nothing; a larger one spares a client that is far away some waiting.
	streamWindow = 64 << 10
	connWindow   = 1 << 20
)

// Times bounds a connection in time.
type Times struct {
	Handshake time.Duration // until TLS and HTTP/2 have greeted
	Write     time.Duration // that a client may leave unread what it is sent
	Idle      time.Duration // without a call
	Age       time.Duration // until it is asked to come again
	Grace     time.Duration // for its calls, after Age
}

// DefaultTimes are those of every server but in tests.
func DefaultTimes() Times {
	return Times{
		Handshake: 10 * time.Second,
		Write:     20 * time.Second,
		Idle:      15 * time.Minute,
		Age:       10 * time.Minute,
		Grace:     30 * time.Second,
	}
}

// ServerConfig is what NewServer needs beside the Service.
type ServerConfig struct {
	Credentials credentials.TransportCredentials
	MaxStreams  uint32 // calls under way on one connection
	Times       Times  // the zero Times are DefaultTimes
	Reflection  bool
	Health      *health.Server
	Log         *slog.Logger
}

// bounds are the options that every server has: each bound that there is, and
// no compressor.
func bounds(creds credentials.TransportCredentials, maxStreams uint32, times Times) []grpc.ServerOption {
	if times == (Times{}) {
		times = DefaultTimes()
	}
	return []grpc.ServerOption{
		grpc.Creds(impatient{creds, times.Write}),
		grpc.ConnectionTimeout(times.Handshake),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     times.Idle,
			MaxConnectionAge:      times.Age,
			MaxConnectionAgeGrace: times.Grace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             minPing,
			PermitWithoutStream: true,
		}),
	}
}

// NewServer returns the gRPC server of one listener, with every bound set and
// all services registered.
func NewServer(s *Service, cfg ServerConfig) *grpc.Server {
	server := grpc.NewServer(append(bounds(s.Told(cfg.Credentials), cfg.MaxStreams, cfg.Times),
		// A signature needs a deep stack; goroutines that stay have grown theirs.
		grpc.NumStreamWorkers(streamWorker),
		grpc.ChainUnaryInterceptor(recoverUnary(cfg.Log, s.Metrics), s.gate.unary),
		grpc.StreamInterceptor(s.aside.shallow(recovery.StreamServerInterceptor(onPanic(cfg.Log, s.Metrics)))),
	)...)
	jotsmithv1.RegisterTokenServiceServer(server, s)
	jotsmithv1.RegisterProfileServiceServer(server, s)
	jotsmithv1.RegisterKeyServiceServer(server, s)
	healthv1.RegisterHealthServer(server, cfg.Health)
	if cfg.Reflection {
		reflection.Register(server)
	}
	return server
}

// NewHTTPHandler returns what answers the unary calls of the same services in JSON
// over HTTP, to the web pages of some origins too. A call passes all that it passes
// over gRPC.
func NewHTTPHandler(s *Service, origins []string, log *slog.Logger) http.Handler {
	recovers := recoverUnary(log, s.Metrics)
	return httpjson.New(httpjson.Config{
		Services: []httpjson.Service{
			{Desc: &jotsmithv1.TokenService_ServiceDesc, Impl: s},
			{Desc: &jotsmithv1.ProfileService_ServiceDesc, Impl: s},
			{Desc: &jotsmithv1.KeyService_ServiceDesc, Impl: s},
		},
		Intercept: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return recovers(ctx, req, info, func(ctx context.Context, req any) (any, error) { return s.gate.unary(ctx, req, info, handler) })
		},
		Origins: origins,
		Domain:  Domain,
	})
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
