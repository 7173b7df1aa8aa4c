package service

import (
	"context"
	"io"
	"log/slog"
	"path"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/publish"
	"github.com/jotsmith/jotsmith/service/quota"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// Generation is what one configuration makes. It does not change; a new
// configuration is a new Generation.
type Generation struct {
	ID     string // names the configuration, as every answer repeats it
	Policy *policy.Policy
	Claims *claims.Catalog
	Signer *signer.Signer

	// Bearers knows callers by their tokens; nil where none is accepted.
	Bearers Bearers

	// Published is what is published of the keys, and where.
	Published publish.Plan

	// inherited are the public keys that the configuration before has read, by
	// the name of their key.
	inherited map[string]signer.Public
	// Versions has the keys rotated that have versions, and outlives the
	// Generation; nil where none has. VerifierCache says of each of them, by its
	// name, for how long verifiers keep it.
	Versions      *rotation.Keeper
	VerifierCache map[string]time.Duration
}

// Config is what New needs; all of it stays the caller's.
type Config struct {
	First    *Generation
	Clock    *clock.Clock
	Tokens   *reuse.Cache
	Quotas   *quota.Buckets // nil counts nothing
	MaxCalls int            // under way at once; 0 is no bound
	Calls    *atomic.Int64  // counts those that are worked on; nil is one that nobody sees
	Abreast  int            // of one party, where all keys are in this process; 0 is no bound
	Ledger   *ledger.Ledger // the tokens that can still be valid
	Watches  WatchLimits
	Halt     *halt.Switch
	Audit    *audit.Log       // nil records nothing
	Metrics  *metrics.Metrics // nil are metrics that nobody sees
	Random   io.Reader        // for jitter alone
	Log      *slog.Logger
}

// Service answers TokenService, ProfileService and KeyService. It is safe for
// concurrent use.
type Service struct {
	jotsmithv1.UnimplementedTokenServiceServer
	jotsmithv1.UnimplementedProfileServiceServer
	jotsmithv1.UnimplementedKeyServiceServer
	Config
	current atomic.Pointer[Generation]
	watches *watches
	aside   aside
	site    atomic.Pointer[published]
	gate    *gate
	counts  counts
	callers *callers
	recent  *recent

	refusals   *refusals
	handshakes *handshakes
}

// New returns a Service.
func New(cfg Config) *Service {
	s := &Service{
		Config: cfg, watches: newWatches(cfg.Watches), gate: newGate(cfg.MaxCalls, cfg.Calls), refusals: newRefusals(),
		callers: newCallers(), recent: newRecent(), handshakes: newHandshakes(),
	}
	s.gate.gaveUp = s.gaveUp
	if s.Metrics == nil {
		s.Metrics = metrics.New(MetricsConfig())
	}
	if cfg.First != nil {
		s.adopt(cfg.First)
	}
	s.current.Store(cfg.First)
	return s
}

// Replace has every call from now on answered under another configuration, and
// every watch look at it. It returns the one before, which calls under way may
// still use. There is one Replace at a time, and each has a next of its own.
func (s *Service) Replace(next *Generation) *Generation {
	next.inherit(s.current.Load())
	s.adopt(next)
	before := s.current.Swap(next)
	s.KeysChanged()
	return before
}

// use returns the configuration that answers now and holds it until its release
// is called.
func (s *Service) use() (*Generation, error) {
	for {
		in := s.current.Load()
		if in.Signer.Acquire() {
			return in, nil
		}
		if s.current.Load() == in { // closed and not replaced: the server stops
			return nil, errDraining
		}
	}
}

// release ends one use.
func (in *Generation) release() { in.Signer.Release() }

// KeysChanged has every watch look whether its token is still the one to have.
func (s *Service) KeysChanged() { s.watches.changed() }

// Drain ends all watches, now and from now on, so that the server can stop.
func (s *Service) Drain() { s.watches.drain() }

// stillKnown refuses a caller whose certificate has expired since the
// connection was made, or his token since the call began.
func (s *Service) stillKnown(caller authn.Caller) error {
	if caller.Expires() && caller.Expired(s.Clock.Wall()) {
		if _, ok := caller.Token(); ok {
			return unauthenticated("bearer token has expired since the call began")
		}
		return unauthenticated("client certificate has expired since the connection was made")
	}
	return nil
}

// CallMessage is the message of the line that the log gets of each call.
const CallMessage = "rpc"

// call is one RPC from its start to the one line that the log gets of it. It
// sees one configuration, which it holds until its release.
type call struct {
	service *Service
	method  string
	profile string
	start   time.Time
	in      *Generation // nil while the server stops
	caller  authn.Caller
	fault   error // why there is no caller
}

func (s *Service) begin(ctx context.Context, method, profile string) call {
	c := call{service: s, method: method, profile: profile, start: time.Now()}
	if c.in, c.fault = s.use(); c.fault == nil {
		c.caller, c.fault = s.known(ctx, c.in)
	}
	return c
}

// release ends the use of the configuration. It may be called again.
func (c *call) release() {
	if c.in != nil {
		c.in.release()
		c.in = nil
	}
}

// known returns who asks, or ErrUnauthenticated.
func (s *Service) known(ctx context.Context, in *Generation) (authn.Caller, error) {
	caller, err := in.caller(ctx)
	switch {
	case err != nil:
		return authn.Caller{}, unauthenticated(err.Error())
	case !caller.Known():
		return authn.Caller{}, unauthenticated("no identity")
	}
	return caller, s.stillKnown(caller)
}

// failed counts a failure of the call, or of an item of it, and turns it into the
// status for the wire and its reason.
func (c *call) failed(err error, profile string, now time.Time) (st *status.Status, reason string) {
	st = toStatus(err)
	reason = reasonOf(st)
	c.service.counts.failed.Add(1)
	c.service.callers.failure(c.caller)
	c.service.recent.add(recentError{
		recentKind: recentKind{c.method, reason}, time: now,
		caller: c.caller.String(), profile: short(profile), text: err.Error(),
	})
	return st, reason
}

// end writes the call's line and turns err into the status for the wire. The
// log gets the whole chain of the error, the caller the table's entry.
func (c *call) end(ctx context.Context, err error, more ...slog.Attr) error {
	log, now := c.service.Log, time.Now()
	var st *status.Status // nil is OK
	level, reason := slog.LevelInfo, ""
	if err != nil {
		st, reason = c.failed(err, c.profile, now)
		if operatorsFault(st.Code()) {
			level = slog.LevelError
		}
	}
	c.service.Metrics.Call(c.method, st.Code().String(), reason, now.Sub(c.start))
	if !log.Enabled(ctx, level) {
		return st.Err()
	}
	// Not by LogAttrs, which looks up the line that calls it each time.
	line := slog.NewRecord(now, level, CallMessage, 0)
	line.AddAttrs(
		slog.String("method", c.method),
		slog.String("caller", c.caller.String()),
		slog.String("profile", short(c.profile)),
		slog.String("code", st.Code().String()),
		slog.Int64("duration_us", now.Sub(c.start).Microseconds()))
	line.AddAttrs(more...)
	if err != nil {
		line.AddAttrs(slog.String("reason", reason), slog.String("error", err.Error()))
	}
	_ = log.Handler().Handle(ctx, line) // there is nowhere else to say that it failed
	return st.Err()
}

// gaveUp counts a call that ended before it was begun: its time ran out, or its caller
// went, while others of his were worked on. It has no line in the log, as one that the
// gate refuses has none.
func (s *Service) gaveUp(method string, err error, waited time.Duration) error {
	st := toStatus(err)
	s.counts.failed.Add(1)
	s.Metrics.Call(path.Base(method), st.Code().String(), reasonOf(st), waited)
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
