package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// bearers stands for a Verifier: it knows one token.
type bearers struct {
	good string
	end  time.Time
}

func (b bearers) Caller(_ context.Context, token string) (authn.Caller, error) {
	if token != b.good {
		return authn.Caller{}, errors.New("the reason, for the log")
	}
	return authn.FromToken(authn.Token{Issuer: "ci", Subject: "somebody"}, b.end), nil
}

const secret = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0"

// withBearers has a server know the token secret until end.
func withBearers(t *testing.T, end time.Time) *servicetest.Server {
	t.Helper()
	s := servicetest.Start(t, servicetest.Options{})
	in := *s.Service.First
	in.Bearers = bearers{secret, end}
	s.Service.Replace(&in)
	return s
}

func mintWith(t *testing.T, s *servicetest.Server, headers ...string) *status.Status {
	t.Helper()
	md := metadata.MD{}
	for _, h := range headers {
		md.Append("authorization", h)
	}
	_, err := s.Tokens(t).MintToken(metadata.NewOutgoingContext(t.Context(), md), &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"a"}`})
	return status.Convert(err)
}

func TestBearerTokenStandsInThePlaceOfTheConnection(t *testing.T) {
	s := withBearers(t, time.Now().Add(time.Hour))
	if got := mintWith(t, s); got.Code() != codes.OK {
		t.Fatalf("by the connection alone: %v", got)
	}
	// The connection has a grant; who sends the token has none.
	if got := mintWith(t, s, "Bearer "+secret); got.Code() != codes.PermissionDenied {
		t.Errorf("by a token without a grant: %v", got)
	}
	if !strings.Contains(s.Log.String(), `"caller":"oidc:ci:somebody"`) {
		t.Error(s.Log)
	}
}

func TestBadBearersAllGetTheSameAnswer(t *testing.T) {
	s := withBearers(t, time.Now().Add(time.Hour))
	var first *status.Status
	for name, headers := range map[string][]string{
		"unknown":    {"Bearer " + secret + "x"},
		"two":        {"Bearer " + secret, "Bearer " + secret},
		"basic":      {"Basic dXNlcjpwYXNz"},
		"empty":      {""},
		"no JWT":     {"Bearer x"},
		"long":       {"Bearer " + secret + strings.Repeat("A", authn.MaxBearer)},
		"two kinds":  {"Basic dXNlcjpwYXNz", "Bearer " + secret},
		"whitespace": {"Bearer  " + secret},
	} {
		got := mintWith(t, s, headers...)
		if got.Code() != codes.Unauthenticated {
			t.Errorf("%s: %v", name, got)
		}
		if first == nil {
			first = got
		}
		if got.Proto().String() != first.Proto().String() {
			t.Errorf("%s: %v, and another gets %v", name, got, first)
		}
	}
	if got := mintWith(t, s); got.Code() != codes.OK {
		t.Errorf("a good call right after: %v", got)
	}
	text := s.Log.String()
	if !strings.Contains(text, "the reason, for the log") || strings.Contains(text, "eyJ") || strings.Contains(text, "c2VjcmV0") {
		t.Errorf("the log says %s", text)
	}
}

func TestBearerWithoutIssuersIsRefused(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	if got := mintWith(t, s, "Bearer "+secret); got.Code() != codes.Unauthenticated {
		t.Errorf("%v", got)
	}
	if !strings.Contains(s.Log.String(), "no issuer is configured") {
		t.Error(s.Log)
	}
}

func TestBearerThatIsOverIsRefused(t *testing.T) {
	s := withBearers(t, time.Now().Add(-time.Second))
	if got := mintWith(t, s, "Bearer "+secret); got.Code() != codes.Unauthenticated {
		t.Errorf("%v", got)
	}
	if !strings.Contains(s.Log.String(), "bearer token has expired") {
		t.Error(s.Log)
	}
}

// slowBearers says that it was asked, and answers when it is let.
type slowBearers struct {
	bearers
	asked, answer chan struct{}
}

func (b slowBearers) Caller(ctx context.Context, token string) (authn.Caller, error) {
	close(b.asked)
	<-b.answer
	return b.bearers.Caller(ctx, token)
}

func TestCallSeesOneConfigurationFromItsBearerToItsToken(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	slow := slowBearers{bearers{secret, time.Now().Add(time.Hour)}, make(chan struct{}), make(chan struct{})}
	in := *s.Service.First
	in.ID, in.Bearers, in.Policy = "one", slow, policy.New([]policy.Rule{{
		Name: "ci", Callers: []policy.Match{{Token: &policy.TokenMatch{Issuer: "ci", Sub: "somebody"}}}, Profiles: []string{servicetest.Profile},
	}})
	s.Service.Replace(&in)

	type answer struct {
		*jotsmithv1.MintTokenResponse
		err error
	}
	answers := make(chan answer, 1)
	tokens := s.Tokens(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
	go func() {
		resp, err := tokens.MintToken(ctx, &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: `{"sub":"a"}`})
		answers <- answer{resp, err}
	}()
	<-slow.asked
	next := in
	next.ID, next.Bearers, next.Policy = "two", bearers{}, policy.New(nil)
	s.Service.Replace(&next)
	close(slow.answer)
	if got := <-answers; got.err != nil || got.GetConfigGeneration() != "one" {
		t.Errorf("generation %q, %v", got.GetConfigGeneration(), got.err)
	}
	if got := mintWith(t, s, "Bearer "+secret); got.Code() != codes.Unauthenticated {
		t.Errorf("the next call: %v", got)
	}
}
