package service

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/policy"
)

// ReloadStatus is what became of the configurations so far.
type ReloadStatus struct {
	Generation string    // the one that answers
	Since      time.Time // when it was taken up
	Taken      int64     // how many were, the first included
	Refused    int64
	Last       time.Time // when the newest was taken up or refused
	Err        error     // of the newest; nil where it was taken up
}

// CertificateStatus is the certificate that a TLS listener shows.
type CertificateStatus struct {
	Address      string
	NotAfter     time.Time
	SPIFFEID     string   // of an SVID; "" for a certificate from a file
	TrustDomains []string // whose workloads are known
	Err          error    // why a SPIFFE agent gives no newer one; nil while all is well
}

// AdminConfig is what NewAdmin needs.
type AdminConfig struct {
	Service *Service
	UIDs    []uint32 // who may use it
	Version string
	Start   time.Time
	Reload  func(context.Context) error
	Status  func() ReloadStatus
	Log     *slog.Logger

	Certificates func() []CertificateStatus // of the TLS listeners
}

// Admin answers AdminService. It is safe for concurrent use.
type Admin struct {
	jotsmithv1.UnimplementedAdminServiceServer
	AdminConfig
}

// adminStreams is how many calls of one operator's connection may be under way.
const adminStreams = 16

// NewAdmin returns the gRPC server of the operators' socket.
func NewAdmin(cfg AdminConfig) *grpc.Server {
	admin := &Admin{AdminConfig: cfg}
	server := grpc.NewServer(append(bounds(authn.UnixCredentials(), adminStreams, Times{}),
		grpc.ChainUnaryInterceptor(recoverUnary(cfg.Log, cfg.Service.Metrics), admin.admit),
	)...)
	jotsmithv1.RegisterAdminServiceServer(server, admin)
	return server
}

// admit lets the operators in, and writes a line for each call that does
// something: there are few, and each matters.
func (a *Admin) admit(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	caller, err := authn.FromContext(ctx)
	if err != nil {
		err = unauthenticated(err.Error())
	} else if cred, ok := caller.Unix(); !ok || !slices.Contains(a.UIDs, cred.UID) {
		err = policy.ErrNotGranted
	}
	var resp any
	if err == nil {
		resp, err = handler(ctx, req)
	}
	if err != nil {
		st := toStatus(err)
		a.Log.WarnContext(ctx, "admin", "method", info.FullMethod, "caller", caller.String(), "reason", reasonOf(st), "error", err)
		return nil, st.Err()
	}
	level := slog.LevelInfo
	if info.FullMethod == jotsmithv1.AdminService_Status_FullMethodName { // which top asks for again and again
		level = slog.LevelDebug
	}
	a.Log.Log(ctx, level, "admin", "method", info.FullMethod, "caller", caller.String())
	return resp, nil
}

// Reload reads the configuration anew.
func (a *Admin) Reload(ctx context.Context, _ *jotsmithv1.ReloadRequest) (*jotsmithv1.ReloadResponse, error) {
	before, began := a.Service.current.Load().ID, time.Now()
	if err := a.AdminConfig.Reload(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errConfigInvalid, err)
	}
	now := a.Service.current.Load().ID
	unrecorded := a.record(ctx, "Reload", "configuration", "taken up", "")
	return &jotsmithv1.ReloadResponse{
		ConfigGeneration: now, Changed: now != before, Duration: durationpb.New(time.Since(began)), RecordError: text(unrecorded),
	}, nil
}

// maxReason is the longest reason of a Disable, in bytes.
const maxReason = 512

// Disable stops minting for a target.
func (a *Admin) Disable(ctx context.Context, req *jotsmithv1.DisableRequest) (*jotsmithv1.DisableResponse, error) {
	target, err := targetOf(req.GetTarget())
	if err != nil {
		return nil, err
	}
	if reason := req.GetReason(); reason == "" || len(reason) > maxReason {
		return nil, invalid("reason", "is empty, or longer than 512 bytes")
	}
	in, err := a.Service.use()
	if err != nil {
		return nil, err
	}
	defer in.release()
	stopped, err := in.stoppedBy(target)
	if err != nil {
		return nil, err
	}
	by, _ := authn.FromContext(ctx) // admit has seen him
	stopErr := a.Service.Halt.Stop(halt.Entry{Target: target, Reason: req.GetReason(), By: by.String(), Time: time.Now()})
	a.Service.Tokens.Forget()
	a.Service.KeysChanged()
	if stopErr != nil {
		return nil, stopErr
	}
	unrecorded := a.record(ctx, "Disable", target.String(), "stopped", req.GetReason())
	a.Log.WarnContext(ctx, "stopped by an operator", "target", target.String(), "reason", req.GetReason(), "caller", by.String())
	return &jotsmithv1.DisableResponse{Profiles: stopped, Alive: a.alive(in, stopped), RecordError: text(unrecorded)}, nil
}

// Enable ends a Disable.
func (a *Admin) Enable(ctx context.Context, req *jotsmithv1.EnableRequest) (*jotsmithv1.EnableResponse, error) {
	target, err := targetOf(req.GetTarget())
	if err != nil {
		return nil, err
	}
	if err := a.record(ctx, "Enable", target.String(), "goes on", ""); err != nil {
		return nil, err
	}
	was, err := a.Service.Halt.GoOn(target)
	if err != nil {
		return nil, err
	}
	a.Service.KeysChanged()
	if was {
		a.Log.WarnContext(ctx, "goes on", "target", target.String())
	}
	return &jotsmithv1.EnableResponse{WasDisabled: was}, nil
}

// record records what an operator does.
func (a *Admin) record(ctx context.Context, method, target, change, why string) error {
	if a.Service.Audit == nil {
		return nil
	}
	by, _ := authn.FromContext(ctx) // admit has seen him
	return a.Service.Audit.Act(ctx, audit.Act{
		Method: method, Generation: a.Service.current.Load().ID, Caller: by.String(), Proof: by.Proof(),
		Target: target, Change: change, Why: why,
	})
}

// text is an error's; empty for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// stoppedBy returns the names of the profiles that a target stops, sorted. A key
// or a profile must be one of the configuration's: who mistypes a name should
// know.
func (in *Generation) stoppedBy(target halt.Target) ([]string, error) {
	var stopped []string
	for _, name := range in.Claims.Names() {
		profile, _ := in.Claims.Profile(name)
		switch target.Kind {
		case halt.Everything:
			stopped = append(stopped, name)
		case halt.Profile:
			if name == target.Name {
				stopped = append(stopped, name)
			}
		case halt.Key:
			if profile.Key == target.Name {
				stopped = append(stopped, name)
			}
		case halt.Caller:
			return nil, nil
		}
	}
	switch {
	case target.Kind == halt.Profile && len(stopped) == 0:
		return nil, invalid("target.profile", "is not a profile of the configuration")
	case target.Kind == halt.Key && !in.Signer.Has(target.Name):
		return nil, invalid("target.key", "is not a key of the configuration")
	}
	return stopped, nil
}

// alive returns what can still be valid of some profiles' tokens; of all where
// profiles is nil.
func (a *Admin) alive(in *Generation, profiles []string) []*jotsmithv1.Alive {
	var all []*jotsmithv1.Alive
	for _, left := range a.Service.Ledger.Alive(a.Service.Clock.Wall()) {
		if profiles != nil && !slices.Contains(profiles, left.Profile) {
			continue
		}
		out := &jotsmithv1.Alive{
			Profile: left.Profile, Kid: left.KID, Count: left.Count, NewestExpireTime: timestamppb.New(left.Newest),
		}
		if profile, ok := in.Claims.Profile(left.Profile); ok {
			out.RevocationUrl = profile.RevocationURL
		}
		all = append(all, out)
	}
	return all
}

func targetOf(t *jotsmithv1.Target) (halt.Target, error) {
	switch x := t.GetTarget().(type) {
	case *jotsmithv1.Target_Key:
		return named(halt.Key, "target.key", x.Key)
	case *jotsmithv1.Target_Profile:
		return named(halt.Profile, "target.profile", x.Profile)
	case *jotsmithv1.Target_Caller:
		return named(halt.Caller, "target.caller", x.Caller)
	case *jotsmithv1.Target_Everything:
		if x.Everything {
			return halt.Target{Kind: halt.Everything}, nil
		}
	}
	return halt.Target{}, invalid("target", "is missing")
}

func named(kind halt.Kind, field, name string) (halt.Target, error) {
	if name == "" || len(name) > 4096 {
		return halt.Target{}, invalid(field, "is empty, or longer than 4096 bytes")
	}
	return halt.Target{Kind: kind, Name: name}, nil
}

func targetProto(t halt.Target) *jotsmithv1.Target {
	switch t.Kind {
	case halt.Key:
		return &jotsmithv1.Target{Target: &jotsmithv1.Target_Key{Key: t.Name}}
	case halt.Profile:
		return &jotsmithv1.Target{Target: &jotsmithv1.Target_Profile{Profile: t.Name}}
	case halt.Caller:
		return &jotsmithv1.Target{Target: &jotsmithv1.Target_Caller{Caller: t.Name}}
	case halt.Everything:
	}
	return &jotsmithv1.Target{Target: &jotsmithv1.Target_Everything{Everything: true}}
}
