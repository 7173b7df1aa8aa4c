package service_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// wireError is what a client sees of a failure.
type wireError struct {
	code    codes.Code
	reason  string
	retry   time.Duration
	fields  []string
	message string
}

func seen(t *testing.T, err error) wireError {
	t.Helper()
	st, ok := status.FromError(err)
	if !ok {
		t.Fatalf("%v is no status", err)
	}
	w := wireError{code: st.Code(), message: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			w.reason = d.GetReason()
			if d.GetDomain() != service.Domain {
				t.Errorf("domain %q", d.GetDomain())
			}
		case *errdetails.RetryInfo:
			w.retry = d.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				w.fields = append(w.fields, v.GetField())
				if v.GetDescription() == "" {
					t.Errorf("violation of %s without a description", v.GetField())
				}
			}
		}
	}
	return w
}

func request() *jotsmithv1.MintTokenRequest {
	return &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"me"}`}
}

// wantUsable fails unless the next valid request succeeds.
func wantUsable(t *testing.T, tokens jotsmithv1.TokenServiceClient) {
	t.Helper()
	if _, err := tokens.MintToken(t.Context(), request()); err != nil {
		t.Errorf("the next valid request: %v", err)
	}
}

func TestEveryBackendFailureOnTheWire(t *testing.T) {
	rows := []struct {
		kind   error
		code   codes.Code
		reason string
		retry  bool
	}{
		{backends.ErrThrottled, codes.ResourceExhausted, "BACKEND_THROTTLED", true},
		{backends.ErrUnavailable, codes.Unavailable, "BACKEND_UNAVAILABLE", true},
		{backends.ErrKeyNotFound, codes.FailedPrecondition, "KEY_NOT_FOUND", false},
		{backends.ErrKeyDisabled, codes.FailedPrecondition, "KEY_DISABLED", false},
		{backends.ErrAccessDenied, codes.FailedPrecondition, "KEY_ACCESS_DENIED", false},
		{backends.ErrKeyUnsuitable, codes.FailedPrecondition, "KEY_UNSUITABLE", false},
		{backends.ErrKeyMismatch, codes.FailedPrecondition, "KEY_MISMATCH", false},
		{backends.ErrPINIncorrect, codes.FailedPrecondition, "PIN_INCORRECT", false},
		{backends.ErrPINLocked, codes.FailedPrecondition, "PIN_LOCKED", false},
		{backends.ErrSignatureInvalid, codes.Internal, "SIGNATURE_INVALID", false},
		{backends.ErrClosed, codes.Unavailable, "DRAINING", true},
	}
	for _, kind := range backends.Kinds() {
		if !slices.ContainsFunc(rows, func(r struct {
			kind   error
			code   codes.Code
			reason string
			retry  bool
		},
		) bool {
			return errors.Is(r.kind, kind)
		}) {
			t.Errorf("no row for %v", kind)
		}
	}
	for _, row := range rows {
		t.Run(row.reason, func(t *testing.T) {
			s := servicetest.Start(t, servicetest.Options{})
			tokens := s.Tokens(t)
			s.Store.FailWith(row.kind)
			_, err := tokens.MintToken(t.Context(), request())
			got := seen(t, err)
			if got.code != row.code || got.reason != row.reason || (got.retry > 0) != row.retry {
				t.Errorf("got %+v, want %+v", got, row)
			}
			if strings.Contains(err.Error(), "secret backend text") {
				t.Error("the backend's text leaked")
			}
			if !strings.Contains(s.Log.String(), "secret backend text") || !strings.Contains(s.Log.String(), row.reason) {
				t.Errorf("the log lacks the cause or the reason: %s", s.Log.String())
			}
			s.Store.FailWith(nil)
			latched := row.reason == "SIGNATURE_INVALID" || row.reason == "KEY_MISMATCH"
			if !latched {
				wantUsable(t, tokens)
			} else if _, err := tokens.MintToken(t.Context(), request()); seen(t, err).reason != row.reason {
				t.Errorf("the latch says %v", err)
			}
		})
	}
}

func TestBackendsOwnRetryTimeReachesTheCaller(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	s.Store.Fail(func(_ context.Context, op, id string) error {
		return &backends.Error{Op: op, KeyID: id, Kind: backends.ErrThrottled, RetryAfter: 1234 * time.Millisecond}
	})
	_, err := s.Tokens(t).MintToken(t.Context(), request())
	if got := seen(t, err); got.retry != 1234*time.Millisecond {
		t.Errorf("retry after %v", got.retry)
	}
}

func TestBadRequestsNameTheirFields(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	rows := map[string]struct {
		req   *jotsmithv1.MintTokenRequest
		field string
	}{
		"claims are no JSON":   {&jotsmithv1.MintTokenRequest{Claims: `{`}, "claims"},
		"claims are an array":  {&jotsmithv1.MintTokenRequest{Claims: `[]`}, "claims"},
		"required claim":       {&jotsmithv1.MintTokenRequest{}, "claims.sub"},
		"reserved claim":       {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a","iss":"b"}`}, "claims.iss"},
		"case variant":         {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a","ISS":"b"}`}, "claims.ISS"},
		"wrong type":           {&jotsmithv1.MintTokenRequest{Claims: `{"sub":7}`}, "claims.sub"},
		"2^53+1":               {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a","n":9007199254740993}`}, "claims"},
		"ttl zero":             {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: &durationpb.Duration{}}, "ttl"},
		"ttl negative":         {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: durationpb.New(-1)}, "ttl"},
		"ttl over the limit":   {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: durationpb.New(2 * time.Hour)}, "ttl"},
		"ttl of a fraction":    {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: durationpb.New(1500 * time.Millisecond)}, "ttl"},
		"ttl of int64 max":     {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: &durationpb.Duration{Seconds: 1<<63 - 1}}, "ttl"},
		"ttl past a Duration":  {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: &durationpb.Duration{Seconds: 300_000_000_000}}, "ttl"},
		"ttl of mixed signs":   {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "ttl"},
		"ttl of too many nano": {&jotsmithv1.MintTokenRequest{Claims: `{"sub":"a"}`, Ttl: &durationpb.Duration{Seconds: 1, Nanos: 1e9}}, "ttl"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			row.req.Profile = servicetest.Profile
			_, err := tokens.MintToken(t.Context(), row.req)
			got := seen(t, err)
			if got.code != codes.InvalidArgument || got.reason != "INVALID_REQUEST" || !slices.Contains(got.fields, row.field) || got.retry != 0 {
				t.Errorf("got %+v, want a violation of %s", got, row.field)
			}
			wantUsable(t, tokens)
		})
	}
}

func TestUnknownAndForbiddenLookAlike(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens, keys := s.Tokens(t), s.Keys(t)
	var answers []wireError
	for _, profile := range []string{servicetest.Forbidden, "no-such", "", strings.Repeat("x", 5000)} {
		// The claims are wrong too: permission is decided first.
		_, err := tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: profile, Claims: `{"`})
		answers = append(answers, seen(t, err))
		if profile != "" {
			_, err = keys.ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{Profile: profile})
			answers = append(answers, seen(t, err))
		}
	}
	for _, got := range answers {
		if got.code != codes.PermissionDenied || got.reason != "NOT_GRANTED" || got.message != answers[0].message {
			t.Errorf("got %+v", got)
		}
	}
}

func TestCallerWithoutGrantGetsNothing(t *testing.T) {
	nobody := uint32(4_000_000_000)
	s := servicetest.Start(t, servicetest.Options{UID: &nobody})
	_, err := s.Tokens(t).MintToken(t.Context(), request())
	if got := seen(t, err); got.code != codes.PermissionDenied || got.reason != "NOT_GRANTED" {
		t.Errorf("MintToken: %+v", got)
	}
	_, err = s.Keys(t).ListKeys(t.Context(), &jotsmithv1.ListKeysRequest{})
	if got := seen(t, err); got.code != codes.PermissionDenied || got.reason != "NOT_GRANTED" {
		t.Errorf("ListKeys: %+v", got)
	}
	if s.Store.Signed() > 1 { // the canary
		t.Error("a signature was spent")
	}
}

func TestOverloadIsAnsweredAtOnceWithARetryTime(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{MaxInFlight: 1, MaxQueue: 1})
	tokens := s.Tokens(t)
	release := make(chan struct{})
	entered := make(chan struct{}, 16)
	s.Store.Fail(func(context.Context, string, string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	results := make(chan error, 16)
	mint := func() {
		_, err := tokens.MintToken(t.Context(), request())
		results <- err
	}
	go mint()
	<-entered
	for range 4 {
		go mint() // one of them waits, the others are refused
	}
	for range 3 {
		got := seen(t, <-results)
		if got.code != codes.ResourceExhausted || got.reason != "OVERLOADED" || got.retry <= 0 {
			t.Errorf("got %+v", got)
		}
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestTooLittleTimeIsRefusedBeforeASignature(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	wantUsable(t, tokens) // the connection stands
	before := s.Store.Signed()
	ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
	defer cancel()
	_, err := tokens.MintToken(ctx, request())
	if got := seen(t, err); got.code != codes.DeadlineExceeded || got.reason != "DEADLINE_TOO_SHORT" {
		t.Errorf("got %+v", got)
	}
	if s.Store.Signed() != before {
		t.Error("a signature was spent")
	}
}

func TestHangingStoreIsAnsweredWithinTheDeadline(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Timeout: 300 * time.Millisecond})
	tokens := s.Tokens(t)
	s.Store.Fail(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
	_, err := tokens.MintToken(t.Context(), request())
	if got := seen(t, err); got.code != codes.Unavailable || got.reason != "BACKEND_UNAVAILABLE" {
		t.Errorf("the server's timeout: %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	_, err = tokens.MintToken(ctx, request())
	if got := seen(t, err); got.code != codes.DeadlineExceeded {
		t.Errorf("the caller's deadline: %+v", got)
	}
	s.Store.Fail(nil)
	wantUsable(t, tokens)
}

func TestCancellationReachesTheStore(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	entered, left := make(chan struct{}), make(chan error, 1)
	s.Store.Fail(func(ctx context.Context, _, _ string) error {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := tokens.MintToken(ctx, request())
		done <- err
	}()
	<-entered
	cancel()
	if got := seen(t, <-done); got.code != codes.Canceled {
		t.Errorf("got %+v", got)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the store saw %v", err)
	}
}

func TestUntrustedClockMintsNothing(t *testing.T) {
	good := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	set(good)
	s := servicetest.Start(t, servicetest.Options{Wall: func() time.Time { return *now.Load() }})
	tokens := s.Tokens(t)
	wantUsable(t, tokens)
	for _, bad := range []time.Time{time.Unix(0, 0), good.Add(-time.Minute)} {
		set(bad)
		_, err := tokens.MintToken(t.Context(), request())
		if got := seen(t, err); got.code != codes.FailedPrecondition || got.reason != "CLOCK_UNTRUSTED" {
			t.Errorf("at %v: %+v", bad, got)
		}
		set(good.Add(-4 * time.Second)) // within what time services do
		wantUsable(t, tokens)
	}
}

func TestBatchFailsItemByItem(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	resp, err := s.Tokens(t).BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{
		request(), {Profile: servicetest.Forbidden}, {Profile: servicetest.Profile, Claims: `{}`}, request(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	results := resp.GetResults()
	if len(results) != 4 || results[0].GetToken() == nil || results[3].GetToken() == nil {
		t.Fatalf("results %v", results)
	}
	if got := seen(t, status.FromProto(results[1].GetError()).Err()); got.reason != "NOT_GRANTED" {
		t.Errorf("item 1: %+v", got)
	}
	if got := seen(t, status.FromProto(results[2].GetError()).Err()); got.reason != "INVALID_REQUEST" || !slices.Contains(got.fields, "claims.sub") {
		t.Errorf("item 2: %+v", got)
	}
}

func TestBatchIsBounded(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	tokens := s.Tokens(t)
	for _, n := range []int{0, 257} {
		req := &jotsmithv1.BatchMintTokensRequest{}
		for range n {
			req.Requests = append(req.Requests, &jotsmithv1.MintTokenRequest{})
		}
		_, err := tokens.BatchMintTokens(t.Context(), req)
		if got := seen(t, err); got.code != codes.InvalidArgument || !slices.Contains(got.fields, "requests") {
			t.Errorf("%d items: %+v", n, got)
		}
	}
	req := &jotsmithv1.BatchMintTokensRequest{}
	for range 256 {
		req.Requests = append(req.Requests, request())
	}
	resp, err := tokens.BatchMintTokens(t.Context(), req)
	if err != nil || len(resp.GetResults()) != 256 {
		t.Fatalf("256 items: %v", err)
	}
	unique := map[string]bool{}
	for i, r := range resp.GetResults() {
		if r.GetToken() == nil {
			t.Fatalf("item %d: %v", i, r.GetError())
		}
		unique[r.GetToken().GetToken()] = true
	}
	if len(unique) != 256 {
		t.Errorf("%d different tokens of 256", len(unique))
	}
}

// TestEveryReasonIsDocumented keeps docs/errors.md, the proto's comments and
// the table in step.
func TestEveryReasonIsDocumented(t *testing.T) {
	reasons := map[string]bool{"INTERNAL": true, "INVALID_REQUEST": true}
	for _, f := range service.Failures() {
		reasons[f.Reason] = true
	}
	doc, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^## ([A-Z_]+)$").FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = true
	}
	var proto []byte
	for _, name := range []string{"token_service", "admin_service"} {
		text, err := os.ReadFile("../proto/jotsmith/v1/" + name + ".proto")
		if err != nil {
			t.Fatal(err)
		}
		proto = append(proto, text...)
	}
	for reason := range reasons {
		if !documented[reason] {
			t.Errorf("docs/errors.md has no section %s", reason)
		}
		if !strings.Contains(string(proto), reason) {
			t.Errorf("no proto names %s", reason)
		}
	}
	for reason := range documented {
		if !reasons[reason] {
			t.Errorf("docs/errors.md has the section %s, which no failure has", reason)
		}
	}
}
