package service_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

func TestQuotaOverTheWire(t *testing.T) {
	now := time.Unix(1893553445, 0)
	s := servicetest.Start(t, servicetest.Options{
		Wall: func() time.Time { return now }, Quota: policy.Quota{PerMinute: 6, Burst: 5}, Profiles: reusing(claims.UntilRefresh),
	})
	tokens := s.Tokens(t)
	left := func() string {
		resp := explain(t, s, request())
		return resp.GetLimits()[len(resp.GetLimits())-1]
	}
	wantUsable(t, tokens)
	for range 2 { // an explanation is free, and so is a watch of a kept token
		if !strings.HasSuffix(left(), "6 requests a minute, 5 at once; 4 are left now") {
			t.Errorf("limits %s", left())
		}
		stream, err := tokens.WatchToken(t.Context(), &jotsmithv1.WatchTokenRequest{Request: request()})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Each item of a batch counts, whatever becomes of it.
	bad := &jotsmithv1.MintTokenRequest{Profile: servicetest.Profile, Claims: "{"}
	batch, err := tokens.BatchMintTokens(t.Context(), &jotsmithv1.BatchMintTokensRequest{Requests: []*jotsmithv1.MintTokenRequest{bad, bad, bad, bad, bad, bad}})
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	for _, result := range batch.GetResults() {
		reasons[seen(t, status.ErrorProto(result.GetError())).reason]++
	}
	if reasons["INVALID_REQUEST"] != 4 || reasons["QUOTA_EXCEEDED"] != 2 {
		t.Errorf("reasons %v", reasons)
	}
	_, err = tokens.MintToken(t.Context(), bad)
	if got := seen(t, err); got.code != codes.ResourceExhausted || got.reason != "QUOTA_EXCEEDED" || got.retry != 10*time.Second {
		t.Errorf("got %+v", got)
	}
	resp := explain(t, s, request())
	if len(resp.GetRefusals()) != 1 || seen(t, status.ErrorProto(resp.GetRefusals()[0])).reason != "QUOTA_EXCEEDED" || resp.GetHeader() == "" {
		t.Errorf("explained %v", resp)
	}
	_, err = tokens.MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: servicetest.Forbidden})
	if got := seen(t, err); got.reason != "NOT_GRANTED" {
		t.Errorf("without a grant: %+v", got)
	}
}
