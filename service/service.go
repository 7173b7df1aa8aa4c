package service

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

// Config is what New needs; all of it stays the caller's.
type Config struct {
	Policy *policy.Policy
	Claims *claims.Catalog
	Signer *signer.Signer
	Clock  *Clock
	Log    *slog.Logger
	// Generation names the configuration, as every answer repeats it.
	Generation string
}

// Service answers TokenService and KeyService. It is safe for concurrent use.
type Service struct {
	jotsmithv1.UnimplementedTokenServiceServer
	jotsmithv1.UnimplementedKeyServiceServer
	Config
}

// New returns a Service.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// caller returns who asks, or ErrUnauthenticated.
func (s *Service) caller(ctx context.Context) (authn.Caller, error) {
	caller, err := authn.FromContext(ctx)
	switch {
	case err != nil:
		return authn.Caller{}, unauthenticated(err.Error())
	case !caller.Known():
		return authn.Caller{}, unauthenticated("no identity")
	case caller.Expired(s.Clock.wall()):
		return authn.Caller{}, unauthenticated("client certificate has expired since the connection was made")
	}
	return caller, nil
}

// call is one RPC from its start to the one line that the log gets of it.
type call struct {
	service *Service
	method  string
	profile string
	start   time.Time
}

func (s *Service) begin(method, profile string) call {
	return call{s, method, profile, time.Now()}
}

// end writes the call's line and turns err into the status for the wire. The
// log gets the whole chain of the error, the caller the table's entry.
func (c call) end(ctx context.Context, err error, more ...slog.Attr) error {
	log := c.service.Log
	var st *status.Status // nil is OK
	level := slog.LevelInfo
	if err != nil {
		st = toStatus(err)
		if operatorsFault(st.Code()) {
			level = slog.LevelError
		}
	}
	if log.Enabled(ctx, level) {
		caller, _ := authn.FromContext(ctx) // nobody, where there is none
		attrs := make([]slog.Attr, 0, 8)
		attrs = append(attrs,
			slog.String("method", c.method),
			slog.String("caller", caller.String()),
			slog.String("profile", short(c.profile)),
			slog.String("code", st.Code().String()),
			slog.Int64("duration_us", time.Since(c.start).Microseconds()))
		attrs = append(attrs, more...)
		if err != nil {
			attrs = append(attrs, slog.String("reason", reasonOf(st)), slog.String("error", err.Error()))
		}
		log.LogAttrs(ctx, level, "rpc", attrs...)
	}
	return st.Err()
}

// maxProfileName is the longest name that a profile can have, in bytes.
const maxProfileName = 128

// short is a caller's text as the log takes it.
func short(name string) string {
	if len(name) > maxProfileName {
		return "[too long]"
	}
	return name
}
