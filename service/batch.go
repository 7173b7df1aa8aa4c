package service

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

const (
	// maxBatch is the most items of a batch.
	maxBatch = 256
	// batchWidth is how many items of one batch are minted at once: enough to
	// hide the latency of a distant key store, few enough that one batch does
	// not take every place there.
	batchWidth = 8
	// keptWidth is the same for tokens that are kept and whose keys are in this
	// process: what one waits for is the disk's word on its record.
	keptWidth = 64
)

// BatchMintTokens mints several tokens, each as MintToken would.
func (s *Service) BatchMintTokens(ctx context.Context, req *jotsmithv1.BatchMintTokensRequest) (*jotsmithv1.BatchMintTokensResponse, error) {
	call := s.begin(ctx, "BatchMintTokens", "")
	defer call.release()
	if call.fault != nil {
		s.recordRefusal(ctx, call.in, call.caller, "", call.fault)
		return nil, call.end(ctx, call.fault)
	}
	items := req.GetRequests()
	if len(items) == 0 || len(items) > maxBatch {
		return nil, call.end(ctx, invalid("requests", "has no items or more than 256"))
	}

	b := batch{&call, items, make([]sealed, len(items)), make([]error, len(items))}
	b.sign(ctx)
	results := make([]*jotsmithv1.BatchMintTokensResult, len(items))
	for i, item := range items { // their records are confirmed together
		var token *jotsmithv1.MintTokenResponse
		if b.errs[i] == nil {
			token, b.errs[i] = call.open(ctx, &b.made[i])
		}
		results[i] = call.result(item, token, b.errs[i])
	}
	if err := ctx.Err(); err != nil {
		return nil, call.end(ctx, err)
	}
	_ = call.end(ctx, nil, slog.Int("items", len(items)), failures(b.errs))
	return &jotsmithv1.BatchMintTokensResponse{Results: results}, nil
}

// batch is what becomes of the items of a call, by their place.
type batch struct {
	*call
	items []*jotsmithv1.MintTokenRequest
	made  []sealed
	errs  []error
}

// sign has all items signed: so many at once, and so many by each of those who do it.
func (b *batch) sign(ctx context.Context) {
	width, each := b.width()
	parts := (len(b.items) + each - 1) / each
	abreast(min(width, parts), parts, func(part int) {
		first, end := part*each, min((part+1)*each, len(b.items))
		for i := first; i < end; i++ {
			b.seal(ctx, i)
		}
		for i := end - 1; i >= first; i-- { // when the last is signed, the others are
			b.signed(ctx, i)
		}
	})
}

// seal has an item signed, and does not wait for it where its key is in this process.
// When the call has ended, it begins none.
func (b *batch) seal(ctx context.Context, i int) {
	if b.errs[i] = ctx.Err(); b.errs[i] == nil {
		b.errs[i] = b.call.seal(ctx, b.items[i], &b.made[i])
	}
}

// signed waits for an item's signature.
func (b *batch) signed(ctx context.Context, i int) {
	if b.errs[i] == nil {
		b.errs[i] = b.made[i].token.Signed(ctx)
	}
}

// width is how many items are minted at once. Where all keys are in this process, and
// nothing is to be kept, nothing is waited for but the processor: then each is how many
// stand in line together.
func (b *batch) width() (width, each int) {
	last := ""
	width, each = 1, maxBatch
	for _, item := range b.items {
		if item.GetProfile() == last {
			continue
		}
		last = item.GetProfile()
		profile, ok := b.in.Claims.Profile(last)
		if !ok {
			continue
		}
		turns, inLine := b.in.Signer.Inside(profile.Key)
		switch {
		case turns == 0:
			return batchWidth, 1
		case !profile.OneTime():
			width, each = keptWidth, 1
		default:
			width, each = max(width, turns), min(each, inLine)
		}
	}
	return width, each
}

// abreast calls do for each number below n, so many at a time, one of them in this
// goroutine. A panic of do is the caller's, whom gRPC's interceptor catches.
func abreast(width, n int, do func(int)) {
	var next atomic.Int64
	var panicked atomic.Pointer[any]
	work := func() {
		defer func() {
			if p := recover(); p != nil {
				panicked.Store(&p)
			}
		}()
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	}
	var wg sync.WaitGroup
	for range width - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if p := panicked.Load(); p != nil {
		panic(*p)
	}
}

// result is the outcome of one item.
func (c *call) result(item *jotsmithv1.MintTokenRequest, token *jotsmithv1.MintTokenResponse, err error) *jotsmithv1.BatchMintTokensResult {
	if err != nil {
		st, reason := c.failed(err, item.GetProfile(), time.Now())
		c.service.Metrics.Failure(reason)
		return &jotsmithv1.BatchMintTokensResult{
			Outcome: &jotsmithv1.BatchMintTokensResult_Error{Error: st.Proto()},
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
