package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/backends"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/servicetest"
	"github.com/jotsmith/jotsmith/service/token"
)

func explain(t *testing.T, s *servicetest.Server, req *jotsmithv1.MintTokenRequest) *jotsmithv1.ExplainTokenResponse {
	t.Helper()
	resp, err := s.Tokens(t).ExplainToken(t.Context(), &jotsmithv1.ExplainTokenRequest{Request: req})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestExplainShowsWhatMintWouldSign(t *testing.T) {
	now := time.Unix(1893553445, 0)
	s := servicetest.Start(t, servicetest.Options{Wall: func() time.Time { return now }})
	req := request()
	req.Ttl = durationpb.New(90 * time.Second)
	before := s.Store.Signed()
	resp := explain(t, s, req)
	if s.Store.Signed() != before {
		t.Error("something was signed")
	}
	minted, err := s.Tokens(t).MintToken(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := token.Decode(minted.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetHeader() != string(decoded.Header) || resp.GetClaims() != string(decoded.Claims) {
		t.Errorf("explained %s and %s, minted %s and %s", resp.GetHeader(), resp.GetClaims(), decoded.Header, decoded.Claims)
	}
	if len(resp.GetRefusals()) != 0 || resp.GetGrant() != "grant" || resp.GetTtl().AsDuration() != 90*time.Second || resp.GetConfigGeneration() != servicetest.Generation {
		t.Errorf("answer %v", resp)
	}
	var payload map[string]any
	if err := json.Unmarshal(decoded.Claims, &payload); err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.GetDecisions() {
		if strings.HasPrefix(d.GetName(), "header.") {
			continue
		}
		if _, there := payload[d.GetName()]; there != d.GetPresent() || d.GetRule() == "" {
			t.Errorf("decision %v", d)
		}
		delete(payload, d.GetName())
	}
	if len(payload) != 0 {
		t.Errorf("no decision for %v", payload)
	}
}

func TestExplainSaysEveryReasonWhyNot(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: servicetest.Profiles()})
	s.Store.FailWith(backends.ErrKeyDisabled)
	_, err := s.Tokens(t).MintToken(t.Context(), request())
	if got := seen(t, err); got.reason != "KEY_DISABLED" {
		t.Fatalf("got %+v", got)
	}
	resp := explain(t, s, &jotsmithv1.MintTokenRequest{
		Profile: servicetest.Profile, Claims: `{"n":"x","iss":"i","other":1}`,
		Ttl: durationpb.New(48 * time.Hour), MinRemaining: &durationpb.Duration{Nanos: -5, Seconds: 3},
	})
	var reasons, fields []string
	for _, refusal := range resp.GetRefusals() {
		got := seen(t, status.ErrorProto(refusal))
		reasons = append(reasons, got.reason)
		fields = append(fields, got.fields...)
	}
	if want := []string{"INVALID_REQUEST", "INVALID_REQUEST", "KEY_DISABLED"}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %v, want %v", reasons, want)
	}
	slices.Sort(fields)
	if want := []string{"claims.iss", "claims.n", "claims.other", "claims.sub", "min_remaining", "ttl"}; !slices.Equal(fields, want) {
		t.Errorf("fields %v, want %v", fields, want)
	}
	if resp.GetHeader() != "" || resp.GetClaims() != "" || resp.GetTtl() != nil || len(resp.GetDecisions()) == 0 {
		t.Errorf("answer %v", resp)
	}
	if text := resp.String(); strings.Contains(text, "secret backend text") {
		t.Errorf("the answer says what the caller may not know: %s", text)
	}
}

// The kid of a key without a configured one is known when the key was read.
func TestKIDOfAKeyThatWasNotReadIsLeftOut(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Thumbprint: true, Away: true})
	resp := explain(t, s, request())
	if len(resp.GetRefusals()) != 1 || resp.GetHeader() != "" || resp.GetClaims() == "" {
		t.Errorf("while the store is away: %v", resp)
	}
	listed, err := jotsmithv1.NewProfileServiceClient(s.Dial(t, nil)).ListProfiles(t.Context(), &jotsmithv1.ListProfilesRequest{})
	if err != nil || listed.GetProfiles()[0].GetKid() != "" {
		t.Errorf("while the store is away: %v, %v", listed, err)
	}
	s.Store.Fail(nil)
	if err := s.Signer.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	resp = explain(t, s, request())
	if len(resp.GetRefusals()) != 0 || !strings.Contains(resp.GetHeader(), `"kid":"`+s.Signer.KID("key")+`"`) {
		t.Errorf("once it was read: %v", resp)
	}
}

func TestExplainTellsAStrangerWhatMintWould(t *testing.T) {
	other := uint32(4_000_000)
	for name, s := range map[string]*servicetest.Server{
		"another profile": servicetest.Start(t, servicetest.Options{}),
		"no grant at all": servicetest.Start(t, servicetest.Options{UID: &other}),
	} {
		for _, profile := range []string{servicetest.Forbidden, "unheard-of", ""} {
			req := &jotsmithv1.MintTokenRequest{Profile: profile, Claims: "{"}
			_, minted := s.Tokens(t).MintToken(t.Context(), req)
			_, explained := s.Tokens(t).ExplainToken(t.Context(), &jotsmithv1.ExplainTokenRequest{Request: req})
			if status.Code(explained) != codes.PermissionDenied || minted.Error() != explained.Error() {
				t.Errorf("%s, %q: %v and %v", name, profile, minted, explained)
			}
			stream, err := s.Tokens(t).WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{Request: req})
			if err == nil {
				_, err = stream.Recv()
			}
			if err == nil || err.Error() != minted.Error() {
				t.Errorf("%s, %q: a watch says %v", name, profile, err)
			}
		}
	}
}

func TestExplainInAnUntrustedTimeSaysSo(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Wall: func() time.Time { return time.Unix(0, 0) }})
	resp := explain(t, s, request())
	if len(resp.GetRefusals()) != 1 || seen(t, status.ErrorProto(resp.GetRefusals()[0])).reason != "CLOCK_UNTRUSTED" {
		t.Errorf("refusals %v", resp.GetRefusals())
	}
}

// reusing is the first of the profiles with a mode of reuse.
func reusing(mode claims.Mode) []claims.Profile {
	profiles := servicetest.Profiles()
	profiles[0].Reuse.Mode = mode
	return profiles
}

func TestReusedTokenSaysSoAndWhenToRefresh(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: reusing(claims.UntilRefresh)})
	tokens := s.Tokens(t)
	first, err := tokens.MintToken(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := tokens.BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{request(), request()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range batch.GetResults() {
		if again := result.GetToken(); again.GetToken() != first.GetToken() || !again.GetReused() || first.GetReused() {
			t.Errorf("first %v, then %v", first.GetReused(), again.GetReused())
		}
	}
	left := first.GetExpireTime().AsTime().Sub(first.GetRefreshTime().AsTime())
	if left != 100*time.Second {
		t.Errorf("refresh %v before expiry", left)
	}
	req := request()
	req.MinRemaining = durationpb.New(5 * time.Minute)
	if newer, err := tokens.MintToken(t.Context(), req); err != nil || newer.GetReused() == (newer.GetToken() != first.GetToken()) {
		t.Errorf("%v, %v", newer, err)
	}
	req.MinRemaining = durationpb.New(5*time.Minute + 1)
	_, err = tokens.MintToken(t.Context(), req)
	if got := seen(t, err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.fields, []string{"min_remaining"}) {
		t.Errorf("got %+v", got)
	}
}

func TestWatchOverTheWire(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Profiles: reusing(claims.UntilRefresh), MaxWatches: 2})
	tokens := s.Tokens(t)
	ctx, cancel := context.WithCancel(t.Context())
	watch := func(ctx context.Context) (jotsmithv1.TokenService_WatchTokenClient, error) {
		stream, err := tokens.WatchToken(ctx, &jotsmithv1.WatchTokenRequest{Request: request()})
		if err != nil {
			return nil, err
		}
		_, err = stream.Recv()
		return stream, err
	}
	if _, err := watch(ctx); err != nil {
		t.Fatal(err)
	}
	second, err := watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch(t.Context())
	if got := seen(t, err); got.reason != "QUOTA_EXCEEDED" || got.retry == 0 {
		t.Errorf("a third watch: %+v", got)
	}
	cancel() // gives the first's place back
	for {
		if _, err = watch(t.Context()); err == nil {
			break
		}
		if got := seen(t, err); got.reason != "QUOTA_EXCEEDED" {
			t.Fatalf("after one has left: %+v", got)
		}
	}
	s.Service.Drain()
	_, err = second.Recv()
	if got := seen(t, err); got.reason != "DRAINING" || got.code != codes.Unavailable {
		t.Errorf("drained: %+v", got)
	}
	if log := s.Log.String(); strings.Contains(log, "eyJ") || !strings.Contains(log, `"method":"WatchToken"`) {
		t.Errorf("log %s", log)
	}
}

func TestWatchOfOneTimeTokensIsRefused(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	before := s.Store.Signed()
	stream, err := s.Tokens(t).WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{Request: request()})
	if err == nil {
		_, err = stream.Recv()
	}
	if got := seen(t, err); got.reason != "INVALID_REQUEST" || !slices.Equal(got.fields, []string{"profile"}) {
		t.Errorf("got %+v", got)
	}
	if s.Store.Signed() != before {
		t.Error("a signature was spent")
	}
}

func TestAnswerCarriesThePublicKeyWhereTheProfileSaysSo(t *testing.T) {
	profiles := servicetest.Profiles()
	profiles[0].AnswerPublicKey, profiles[0].OmitKID = true, true
	s := servicetest.Start(t, servicetest.Options{Profiles: profiles})
	resp, err := s.Tokens(t).MintToken(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	point, err := s.Store.Public(servicetest.KeyID).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got := decode64(t, resp.GetPublicKey()); len(got) != 65 || !bytes.Equal(got, point) {
		t.Errorf("public key %q", resp.GetPublicKey())
	}
	decoded, err := token.Decode(resp.GetToken())
	if err != nil || string(decoded.Header) != `{"alg":"ES256","typ":"JWT"}` {
		t.Errorf("header %s, %v", decoded.Header, err)
	}
}
