package service

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
)

// mint is the product: who asks has a grant for the profile, the profile's
// rules make the claims set, and its key signs it.
func (s *Service) mint(ctx context.Context, caller authn.Caller, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	grant, err := s.Policy.Decide(caller, req.GetProfile())
	if err != nil {
		return nil, err
	}
	now, err := s.Clock.Now()
	if err != nil {
		return nil, err
	}
	ttl, err := ttlOf(req)
	if err != nil {
		return nil, err
	}
	set, err := s.Claims.Build(grant, claims.Request{Claims: req.GetClaims(), TTL: ttl}, now)
	if err != nil {
		return nil, err
	}
	signed, err := s.Signer.Sign(ctx, set)
	if err != nil {
		return nil, err
	}
	return &jotsmithv1.MintTokenResponse{
		Token:            signed.Token.Reveal(),
		Kid:              signed.KID,
		IssueTime:        timestamppb.New(set.IssueTime()),
		ExpireTime:       timestamppb.New(set.ExpireTime()),
		RefreshTime:      timestamppb.New(set.RefreshTime()),
		ConfigGeneration: s.Generation,
	}, nil
}

// MintToken mints one token.
func (s *Service) MintToken(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	call := s.begin("MintToken", req.GetProfile())
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, call.end(ctx, err)
	}
	resp, err := s.mint(ctx, caller, req)
	return resp, call.end(ctx, err)
}

const (
	// maxBatch is the most items of a batch.
	maxBatch = 256
	// batchWidth is how many items of one batch are minted at once: enough to
	// hide the latency of a distant key store, few enough that one batch does
	// not take every turn there.
	batchWidth = 8
)

// BatchMintTokens mints several tokens, each as MintToken would.
func (s *Service) BatchMintTokens(ctx context.Context, req *jotsmithv1.BatchMintTokensRequest) (*jotsmithv1.BatchMintTokensResponse, error) {
	call := s.begin("BatchMintTokens", "")
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, call.end(ctx, err)
	}
	items := req.GetRequests()
	if len(items) == 0 || len(items) > maxBatch {
		return nil, call.end(ctx, invalid("requests", "has no items or more than 256"))
	}

	results := make([]*jotsmithv1.BatchMintTokensResult, len(items))
	errs := make([]error, len(items))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(batchWidth, len(items)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(items); i = int(next.Add(1)) - 1 {
				var token *jotsmithv1.MintTokenResponse
				token, errs[i] = s.mint(ctx, caller, items[i])
				results[i] = result(token, errs[i])
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, call.end(ctx, err)
	}
	_ = call.end(ctx, nil, slog.Int("items", len(items)), failures(errs))
	return &jotsmithv1.BatchMintTokensResponse{Results: results}, nil
}

// result is the outcome of one item.
func result(token *jotsmithv1.MintTokenResponse, err error) *jotsmithv1.BatchMintTokensResult {
	if err != nil {
		return &jotsmithv1.BatchMintTokensResult{
			Outcome: &jotsmithv1.BatchMintTokensResult_Error{Error: toStatus(err).Proto()},
		}
	}
	return &jotsmithv1.BatchMintTokensResult{
		Outcome: &jotsmithv1.BatchMintTokensResult_Token{Token: token},
	}
}

// failures is what the log gets of a batch's failed items: their number and
// the first one's error, whole.
func failures(errs []error) slog.Attr {
	count := 0
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if count++; first == nil {
			first = err
		}
	}
	if first == nil {
		return slog.Int("failed", 0)
	}
	return slog.Group("", slog.Int("failed", count), slog.String("first_error", first.Error()))
}

// ttlOf returns the ttl asked for, nil where none is.
func ttlOf(req *jotsmithv1.MintTokenRequest) (*time.Duration, error) {
	asked := req.GetTtl()
	if asked == nil {
		return nil, nil
	}
	ttl := asked.AsDuration()
	if asked.CheckValid() != nil || !sameDuration(asked, ttl) {
		return nil, invalid("ttl", "is not a duration that can be worked with")
	}
	return &ttl, nil
}

// sameDuration says whether d is p and not p cut to what a Duration can hold.
func sameDuration(p *durationpb.Duration, d time.Duration) bool {
	again := durationpb.New(d)
	return again.GetSeconds() == p.GetSeconds() && again.GetNanos() == p.GetNanos()
}
