package jotsmith_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/backends"
	jotsmith "github.com/jotsmith/jotsmith/clients/go"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// connect returns a Client of a server on a Unix socket.
func connect(t *testing.T, socket string, settings ...jotsmith.Setting) *jotsmith.Client {
	t.Helper()
	client, err := jotsmith.Connect("unix://"+socket, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// verified returns a token's claims, after one of the client's keys has verified it.
func verified(t *testing.T, client *jotsmith.Client, token jotsmith.Token) map[string]any {
	t.Helper()
	keys, err := client.Keys(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(token.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key.KID != token.KID {
			continue
		}
		payload, err := parsed.Verify(key.Public)
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{}
		dec := json.NewDecoder(strings.NewReader(string(payload)))
		dec.UseNumber()
		if err := dec.Decode(&claims); err != nil {
			t.Fatal(err)
		}
		return claims
	}
	t.Fatalf("no key %s among %d", token.KID, len(keys))
	return nil
}

// reusing is a profile whose tokens are kept, and one whose tokens are for one use.
func reusing(mode claims.Mode) []claims.Profile {
	profiles := servicetest.Profiles()
	for i := range profiles {
		profiles[i].Reuse.Mode = mode
	}
	return profiles
}

func TestOneRequestForAHundredCallersOfARealServer(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: reusing(claims.UntilRefresh)})
	client := connect(t, s.Socket)
	var wg sync.WaitGroup
	var tokens sync.Map
	for range 100 {
		wg.Go(func() {
			token, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(map[string]any{"sub": "ünïcødé 日本", "n": int64(1<<53 - 1)}))
			if err != nil {
				t.Error(err)
				return
			}
			tokens.Store(token.Reveal(), token)
		})
	}
	wg.Wait()
	if n := strings.Count(s.Log.String(), `"method":"MintToken"`); n != 1 {
		t.Errorf("%d requests reached the server", n)
	}
	tokens.Range(func(_, token any) bool {
		got := verified(t, client, token.(jotsmith.Token))
		if got["sub"] != "ünïcødé 日本" || got["n"] != json.Number("9007199254740991") {
			t.Errorf("claims %v", got)
		}
		return true
	})
	// Another process gets the server's.
	other, err := connect(t, s.Socket).Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"n":9007199254740991,"sub":"ünïcødé 日本"}`))
	if err != nil || !other.Reused {
		t.Errorf("reused %v, %v", other.Reused, err)
	}
	client.Invalidate(servicetest.Profile)
	if _, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`), jotsmith.TTL(time.Minute)); err != nil {
		t.Error(err)
	}
	// The server's refusals name the field.
	for _, bad := range []struct {
		field   string
		options []jotsmith.Option
	}{
		{"claims", []jotsmith.Option{jotsmith.Claims(map[string]any{"sub": "a", "n": int64(1 << 53)})}},
		{"claims.sub", nil},
		{"claims.nbf", []jotsmith.Option{jotsmith.Claims(`{"sub":"a","nbf":1}`)}},
		{"ttl", []jotsmith.Option{jotsmith.Claims(`{"sub":"a"}`), jotsmith.TTL(2 * time.Hour)}},
		{"ttl", []jotsmith.Option{jotsmith.Claims(`{"sub":"a"}`), jotsmith.TTL(-time.Second)}},
		{"min_remaining", []jotsmith.Option{jotsmith.Claims(`{"sub":"a"}`), jotsmith.MinRemaining(2 * time.Hour)}},
	} {
		_, err := client.Token(t.Context(), servicetest.Profile, bad.options...)
		e, ok := errors.AsType[*jotsmith.Error](err)
		if !ok || e.Reason != "INVALID_REQUEST" || e.Retryable || len(e.Violations) == 0 || e.Violations[0].Field != bad.field {
			t.Errorf("%s: %+v", bad.field, err)
		}
	}
}

func TestEachTokenIsForOneUse(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: reusing(claims.Never)})
	client := connect(t, s.Socket)
	first, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`))
	if err != nil || first.Reveal() == second.Reveal() || !second.OneTime() {
		t.Errorf("%v: the same %v", err, first.Reveal() == second.Reveal())
	}
}

func TestAStoreThatComesBackIsWaitedFor(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	client := connect(t, s.Socket, jotsmith.Timeout(20*time.Second))
	var failures atomic.Int32
	s.Store.Fail(func(_ context.Context, op, id string) error {
		if failures.Add(1) > 2 {
			return nil
		}
		return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable, RetryAfter: 50 * time.Millisecond}
	})
	token, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`))
	if err != nil || failures.Load() < 3 {
		t.Fatalf("%v after %d failures", err, failures.Load())
	}
	verified(t, client, token)
	s.Store.Fail(func(_ context.Context, op, id string) error {
		return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable, RetryAfter: time.Hour}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = client.Token(ctx, servicetest.Profile, jotsmith.Claims(`{"sub":"b"}`))
	e, ok := errors.AsType[*jotsmith.Error](err)
	if !ok || e.Code != codes.Unavailable || e.Reason != "BACKEND_UNAVAILABLE" || !e.Retryable || e.RetryAfter < time.Minute {
		t.Errorf("got %+v", err)
	}
}

func TestAQuotaIsNotWornDownByRetries(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Quota: policy.Quota{PerMinute: 1, Burst: 1}})
	client := connect(t, s.Socket)
	for i := range 2 {
		_, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(map[string]any{"sub": "a", "n": i}))
		e, failed := errors.AsType[*jotsmith.Error](err)
		if failed != (i == 1) || failed && (e.Reason != "QUOTA_EXCEEDED" || !e.Retryable || e.RetryAfter == 0) {
			t.Errorf("%d: %+v", i, err)
		}
	}
	if n := strings.Count(s.Log.String(), `"method":"MintToken"`); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestABatchHasAResultForEach(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	client := connect(t, s.Socket)
	results, err := client.Batch(t.Context(),
		jotsmith.Request{Profile: servicetest.Profile, Claims: `{"sub":"a"}`},
		jotsmith.Request{Profile: servicetest.Forbidden, Claims: `{"sub":"a"}`},
		jotsmith.Request{Profile: servicetest.Profile})
	if err != nil || len(results) != 3 {
		t.Fatal(err)
	}
	if got := verified(t, client, results[0].Token); got["sub"] != "a" || results[0].Err != nil || results[0].Token.Remaining() < 4*time.Minute {
		t.Errorf("%v, %v", got, results[0].Err)
	}
	for i, reason := range []string{1: "NOT_GRANTED", 2: "INVALID_REQUEST"} {
		if e, ok := errors.AsType[*jotsmith.Error](results[i].Err); ok != (i > 0) || ok && e.Reason != reason {
			t.Errorf("%d: %v", i, results[i].Err)
		}
	}
	if _, err := client.Batch(t.Context()); err == nil {
		t.Error("an empty batch")
	}
}

func TestExplainAndKeysAreNative(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	client := connect(t, s.Socket)
	e, err := client.Explain(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`))
	if err != nil || len(e.Refusals) != 0 || e.TTL != 5*time.Minute || e.Grant != "grant" || !strings.Contains(e.Claims, `"sub":"a"`) || len(e.Decisions) == 0 {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = client.Explain(t.Context(), servicetest.Profile)
	if err != nil || len(e.Refusals) != 1 || e.Refusals[0].Violations[0].Field != "claims.sub" {
		t.Errorf("%+v, %v", e, err)
	}
	keys, err := client.Keys(t.Context(), servicetest.Profile)
	if err != nil || len(keys) != 1 || keys[0].KID != servicetest.KID || keys[0].Algorithm != "ES256" || !strings.Contains(keys[0].JWK, keys[0].KID) {
		t.Errorf("%+v, %v", keys, err)
	}
	_, err = client.Keys(t.Context(), servicetest.Forbidden)
	if known, ok := errors.AsType[*jotsmith.Error](err); !ok || known.Reason != "NOT_GRANTED" || known.GRPCStatus().Code() != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
}

func plaintext(s *jotsmith.Settings) { s.PlaintextLoopback = true }

// saying is a server that answers everything with one status.
type saying struct {
	jotsmithv1.UnimplementedTokenServiceServer
	err error
}

func (s *saying) MintToken(context.Context, *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	return nil, s.err
}

// serveProto runs a server on a socket that ends with the test.
func serveProto(t *testing.T, tokens jotsmithv1.TokenServiceServer) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jotsmithv1.RegisterTokenServiceServer(server, tokens)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	return socket
}

func TestEveryReasonOfTheServerIsANativeError(t *testing.T) {
	s := &saying{}
	client := connect(t, serveProto(t, s), jotsmith.Timeout(500*time.Millisecond))
	for _, row := range service.Failures() {
		details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: row.Reason, Domain: service.Domain}}
		if row.Retry > 0 {
			details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(row.Retry)})
		}
		st, err := status.New(row.Code, row.Message).WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		s.err = st.Err()
		_, err = client.Token(t.Context(), "p")
		e, ok := errors.AsType[*jotsmith.Error](err)
		if !ok || e.Code != row.Code || e.Reason != row.Reason || e.RetryAfter != row.Retry || e.Message != row.Message {
			t.Errorf("%s: %+v", row.Reason, err)
			continue
		}
		passes := row.Code == codes.Unavailable || row.Code == codes.ResourceExhausted || row.Code == codes.DeadlineExceeded
		if e.Retryable != passes || status.Code(err) != row.Code {
			t.Errorf("%s: retryable %v, status %s", row.Reason, e.Retryable, status.Code(err))
		}
		if errors.Is(err, context.DeadlineExceeded) != (row.Code == codes.DeadlineExceeded) || errors.Is(err, context.Canceled) != (row.Code == codes.Canceled) {
			t.Errorf("%s: wraps %v", row.Reason, errors.Unwrap(e))
		}
	}
}

func TestConnectSaysWhatIsWrongWithItsSettings(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("two words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address, want string
		settings      []jotsmith.Setting
	}{
		{"nowhere", "neither unix:///PATH nor HOST:PORT", nil},
		{"host:1", "client certificate or a token", nil},
		{"unix:///s", "no TLS", []jotsmith.Setting{jotsmith.TLS(junk, "", "")}},
		{"host:1", "no PEM certificate", []jotsmith.Setting{jotsmith.TLS(junk, "", "")}},
		{"host:1", "go together", []jotsmith.Setting{jotsmith.TLS("", junk, "")}},
		{"host:1", "client certificate: ", []jotsmith.Setting{jotsmith.TLS("", junk, junk)}},
		{"host:1", "a token alone", []jotsmith.Setting{jotsmith.BearerFile(junk)}},
		{"host:1", "not a regular file", []jotsmith.Setting{jotsmith.BearerFile(dir)}},
		{"host:1", "no such file", []jotsmith.Setting{jotsmith.BearerFile(filepath.Join(dir, "none"))}},
		{"localhost:1", "not for", []jotsmith.Setting{plaintext}},
		{"[::ffff:127.0.0.1]:1", "not for", []jotsmith.Setting{plaintext}},
		{"unix:///s", "not for", []jotsmith.Setting{plaintext}},
		{"127.0.0.1:1", "exclude each other", []jotsmith.Setting{plaintext, jotsmith.TLS(junk, "", "")}},
		{"127.0.0.1:1", "not sent in plaintext", []jotsmith.Setting{plaintext, jotsmith.Bearer("t")}},
		{"unix:///s", "not a token alone", []jotsmith.Setting{jotsmith.Bearer("a b")}},
	} {
		client, err := jotsmith.Connect(c.address, c.settings...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.address, err, c.want)
		}
		if client != nil {
			t.Error("a client beside an error")
		}
	}
}

func TestTheEnvironmentSaysWhatNobodyElseDoes(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	t.Setenv("JOTSMITH_ADDRESS", "unix://"+s.Socket)
	t.Setenv("JOTSMITH_TLS_CA", "/of/another/server") // which does not concern a Unix socket
	client, err := jotsmith.Connect("")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Token(t.Context(), servicetest.Profile, jotsmith.Claims(`{"sub":"a"}`)); err != nil {
		t.Error(err)
	}
	if _, err := jotsmith.Connect("host:1"); err == nil || !strings.Contains(err.Error(), "/of/another/server") {
		t.Errorf("the CA of the environment: %v", err)
	}
	t.Setenv("JOTSMITH_BEARER_FILE", "/no/such/bearer")
	if _, err := jotsmith.Connect(""); err == nil || !strings.Contains(err.Error(), "/no/such/bearer") {
		t.Errorf("the bearer of the environment: %v", err)
	}
}

func TestABearerIsNeverSentInTheClear(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jotsmithv1.RegisterTokenServiceServer(server, &saying{err: status.Error(codes.Internal, "reached")})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() { server.Stop(); <-ended }()
	dial := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	})
	for _, address := range []string{listener.Addr().String(), "unix:///s"} {
		client, err := jotsmith.Connect(address, func(s *jotsmith.Settings) {
			s.Bearer, s.Timeout, s.DialOptions = "secret", time.Second, []grpc.DialOption{dial}
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Token(t.Context(), "p"); err == nil || strings.Contains(err.Error(), "reached") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
		client.Close()
	}
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*jotsmith.Error](err); ok {
		return e.Reason
	}
	return fmt.Sprint(err)
}
