// Package servicetest runs the real service behind a real gRPC server on a
// Unix socket, over a fake key store, for tests.
package servicetest

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
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
	"github.com/jotsmith/jotsmith/service/signer"
)

// The names that every Server has.
const (
	Profile        = "app"   // granted; takes the claims sub (required) and n
	Forbidden      = "other" // exists and is granted to nobody here
	KID            = "kid-1"
	KeyID          = "id" // of the key in the fake store
	Generation     = "0123456789abcdef"
	MaxStreams     = 128 // of a connection
	defaultTimeout = 10 * time.Second
)

// Options changes what Start starts.
type Options struct {
	// Quota is that of the grant; the zero Quota is none.
	Quota policy.Quota
	// Wall is the server's clock; nil means time.Now.
	Wall func() time.Time
	// Timeout is the signer's; 0 means 10 s.
	Timeout time.Duration
	// MaxInFlight and MaxQueue bound the store; 0 means 64 and 1024.
	MaxInFlight, MaxQueue int
	// MaxWatches is how many watches a caller may open; 0 means 8.
	MaxWatches int
	// Audit, if set, records every token; it stays the test's.
	Audit *audit.Log
	// Halt, if set, can stop minting.
	Halt *halt.Switch
	// UID is whom the grant names; nil means the user that runs the test.
	UID *uint32
	// Credentials are the server's; nil means those of a Unix socket.
	Credentials credentials.TransportCredentials
	// Times bound every connection; zero means the defaults.
	Times service.Times
	// Callers, if set, are whom the grant names.
	Callers []policy.Match
	// InProcess says that the fake store is one.
	InProcess bool
	// Away has the fake store fail from the start.
	Away bool
	// Thumbprint leaves the key without a configured kid.
	Thumbprint bool
	// Profiles, if set, replace the profiles; the first is granted.
	Profiles []claims.Profile
	// Publish is what is published.
	Publish publish.Plan
}

// Server is a running server.
type Server struct {
	Store   *backendtest.Fake
	Signer  *signer.Signer
	Service *service.Service
	Health  *health.Server
	Socket  string
	Log     *Log
	GRPC    *grpc.Server
}

// Start starts a server that ends with the test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	store := backendtest.NewFake(t, KeyID)
	store.InProcess = opts.InProcess
	if opts.Away {
		store.Fail(func(_ context.Context, op, id string) error {
			return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable}
		})
	}
	kid := KID
	if opts.Thumbprint {
		kid = ""
	}
	logged := NewLog(t)
	log := logged.Logger()
	minted, err := ledger.Open("", rand.Reader, log)
	if err != nil {
		t.Fatal(err)
	}
	var svc *service.Service
	names := service.MetricsConfig()
	names.State = func() metrics.State { return svc.State() }
	counted := metrics.New(names)
	keys, err := signer.New(signer.Config{
		Stores: map[string]signer.Store{"store": {
			Backend:     store,
			Metrics:     counted.Backend("store"),
			MaxInFlight: orDefault(opts.MaxInFlight, 64),
			MaxQueue:    orDefault(opts.MaxQueue, 1024),
			MinTime:     100 * time.Millisecond,
		}},
		Keys:    []signer.Key{{Name: "key", Members: []signer.Member{{Store: "store", ID: KeyID}}, KID: kid}},
		Timeout: orDefault(opts.Timeout, defaultTimeout),
		Random:  rand.Reader,
		Log:     log,
		Record:  service.NewRecorder(opts.Audit, minted, Generation),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wall := opts.Wall
	if wall == nil {
		wall = time.Now
	}
	profiles := opts.Profiles
	if profiles == nil {
		profiles = Profiles()
	}
	start := time.Now()
	tokens := reuse.New(reuse.Config{MaxBytes: 1 << 20, Random: rand.Reader, Log: log})
	svc = service.New(service.Config{
		First: &service.Generation{
			ID:     Generation,
			Policy: policy.New([]policy.Rule{{Name: "grant", Callers: opts.callers(), Profiles: []string{profiles[0].Name}, Quota: opts.Quota}}),
			Claims: claims.New(profiles, rand.Reader),
			Signer: keys,

			Published: opts.Publish,
		},
		Clock:   clock.New(wall, func() time.Duration { return time.Since(start) }),
		Tokens:  tokens,
		Quotas:  quota.New(quota.MaxBuckets),
		Ledger:  minted,
		Watches: service.WatchLimits{PerCaller: orDefault(opts.MaxWatches, 8), Total: 64},
		Halt:    opts.Halt,
		Audit:   opts.Audit,
		Metrics: counted,
		Random:  rand.Reader,
		Log:     log,
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watch sync.WaitGroup
	watch.Go(func() { _ = keys.Run(ctx) })
	t.Cleanup(func() { // after the server has stopped
		cancel()
		watch.Wait()
		tokens.Close()
		if err := keys.Close(); err != nil {
			t.Errorf("closing the signer: %v", err)
		}
	})
	s := &Server{Store: store, Signer: keys, Service: svc, Log: logged}
	s.listen(t, opts.Credentials, opts.Times)
	return s
}

// StartService starts a server over any Service; its Store and Signer are nil.
func StartService(t testing.TB, svc *service.Service) *Server {
	t.Helper()
	s := &Server{Service: svc, Log: NewLog(t)}
	svc.Log = s.Log.Logger()
	s.listen(t, nil, service.Times{})
	return s
}

// listen has the server answer on a Unix socket.
func (s *Server) listen(t testing.TB, creds credentials.TransportCredentials, times service.Times) {
	t.Helper()
	s.Health, s.Socket = health.NewServer(), socketPath(t)
	if creds == nil {
		creds = authn.UnixCredentials()
	}
	s.GRPC, _ = s.serve(t, "unix", s.Socket, creds, times)
}

// ListenTCP has the server answer on a TCP port of this machine too, and returns
// its address.
func (s *Server) ListenTCP(t testing.TB, creds credentials.TransportCredentials, times service.Times) string {
	t.Helper()
	_, address := s.serve(t, "tcp", "127.0.0.1:0", creds, times)
	return address
}

func (s *Server) serve(t testing.TB, network, name string, creds credentials.TransportCredentials, times service.Times) (*grpc.Server, string) {
	t.Helper()
	server := service.NewServer(s.Service, service.ServerConfig{
		Credentials: creds, MaxStreams: MaxStreams, Times: times, Reflection: true, Health: s.Health, Log: s.Log.Logger(),
	})
	listener, err := net.Listen(network, name)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
	})
	return server, listener.Addr().String()
}

func (o *Options) callers() []policy.Match {
	if o.Callers != nil {
		return o.Callers
	}
	uid := uint32(os.Getuid())
	if o.UID != nil {
		uid = *o.UID
	}
	return []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}
}

// Profiles are the profiles of a Server: Profile and Forbidden.
func Profiles() []claims.Profile {
	rules := func() map[string]claims.Rule {
		return map[string]claims.Rule{
			"iss": {Fixed: []byte(`"https://issuer.example"`)},
			"aud": {Fixed: []byte(`"https://api.example"`)},
			"iat": {Computed: claims.IssueTime},
			"exp": {Computed: claims.ExpireTime},
			"sub": {Caller: &claims.CallerRule{Type: "string", Required: true, MaxLength: 64}},
			"n":   {Caller: &claims.CallerRule{Type: "integer"}},
		}
	}
	return []claims.Profile{
		{Name: Profile, Key: "key", Typ: "JWT", DefaultTTL: 5 * time.Minute, MaxTTL: time.Hour, Rules: rules()},
		{Name: Forbidden, Key: "key", Typ: "JWT", DefaultTTL: 5 * time.Minute, MaxTTL: time.Hour, Rules: rules()},
	}
}

// Dial returns a connection to the server; creds nil means plaintext.
func (s *Server) Dial(t testing.TB, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("unix://"+s.Socket, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Tokens returns a client of the TokenService.
func (s *Server) Tokens(t testing.TB) jotsmithv1.TokenServiceClient {
	return jotsmithv1.NewTokenServiceClient(s.Dial(t, nil))
}

// Keys returns a client of the KeyService.
func (s *Server) Keys(t testing.TB) jotsmithv1.KeyServiceClient {
	return jotsmithv1.NewKeyServiceClient(s.Dial(t, nil))
}

// socketPath returns a short path: a Unix socket's has at most 104 bytes.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func orDefault[T comparable](v, otherwise T) T {
	var unset T
	if v == unset {
		return otherwise
	}
	return v
}
