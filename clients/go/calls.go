package jotsmith

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Token returns a token of a profile: the one that is kept, until its refresh time,
// or a new one. It asks the server once however many ask for it. While the server is
// away it returns the old one as long as that has its margin, half of the time
// between its refresh and its end. A token that is for one use is never kept, and
// no two callers get the same. The error is an *Error.
func (c *Client) Token(ctx context.Context, profile string, options ...Option) (Token, error) {
	return c.kept.token(ctx, requestOf(profile, options))
}

// Invalidate forgets the tokens of a profile. The next Token asks the server, which
// may answer with the same one.
func (c *Client) Invalidate(profile string) { c.kept.invalidate(profile) }

// Result is the outcome of one request of a batch.
type Result struct {
	Token Token
	Err   error // an *Error, or nil
}

// Batch asks for up to 256 tokens at once and returns a Result for each request, in
// their order. Nothing of it is kept. The error is that of the call as a whole.
func (c *Client) Batch(ctx context.Context, requests ...Request) ([]Result, error) {
	req := &jotsmithv1.BatchMintTokensRequest{}
	for _, r := range requests {
		item, err := r.message()
		if err != nil {
			return nil, err
		}
		req.Requests = append(req.Requests, item)
	}
	var resp *jotsmithv1.BatchMintTokensResponse
	asked := readClock()
	err := c.call(ctx, func(ctx context.Context) (err error) {
		asked = readClock()
		resp, err = c.tokens.BatchMintTokens(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(resp.GetResults()) != len(requests) {
		return nil, fromStatus(status.New(codes.Internal, fmt.Sprintf("%d results for %d requests", len(resp.GetResults()), len(requests))))
	}
	results := make([]Result, len(requests))
	for i, result := range resp.GetResults() {
		if token := result.GetToken(); token != nil {
			results[i].Token = received(token, asked)
		} else {
			results[i].Err = fromStatus(status.FromProto(result.GetError()))
		}
	}
	return results, nil
}

// Explanation is what a token would be, or why there would be none.
type Explanation struct {
	// Grant is the name of the grant that lets the caller have it.
	Grant string
	// Refusals are all reasons why Token would fail. None where it would not.
	Refusals []*Error
	// Header and Claims are JSON objects; random values are examples.
	Header, Claims string
	Decisions      []Decision
	// TTL is how long it would be valid; 0 where it would not expire.
	TTL time.Duration
	// Limits are the profile's, in words.
	Limits     []string
	Generation string
}

// Decision says where one header parameter or claim comes from.
type Decision struct {
	Name, Rule, Doc string
	Present         bool
}

// Explain says what Token would get from the server. Nothing is signed or kept.
func (c *Client) Explain(ctx context.Context, profile string, options ...Option) (*Explanation, error) {
	req, err := requestOf(profile, options).message()
	if err != nil {
		return nil, err
	}
	var resp *jotsmithv1.ExplainTokenResponse
	err = c.call(ctx, func(ctx context.Context) (err error) {
		resp, err = c.tokens.ExplainToken(ctx, &jotsmithv1.ExplainTokenRequest{Request: req})
		return err
	})
	if err != nil {
		return nil, err
	}
	e := &Explanation{
		Grant: resp.GetGrant(), Header: resp.GetHeader(), Claims: resp.GetClaims(),
		TTL: resp.GetTtl().AsDuration(), Limits: resp.GetLimits(), Generation: resp.GetConfigGeneration(),
	}
	for _, refusal := range resp.GetRefusals() {
		e.Refusals = append(e.Refusals, fromStatus(status.FromProto(refusal)))
	}
	for _, d := range resp.GetDecisions() {
		e.Decisions = append(e.Decisions, Decision{d.GetName(), d.GetRule(), d.GetDoc(), d.GetPresent()})
	}
	return e, nil
}

// Key is the public half of a key that signs tokens.
type Key struct {
	KID, Algorithm string
	Public         *ecdsa.PublicKey
	JWK            string
	Profiles       []string // those that the caller may mint
}

// Keys returns the keys of the profiles that the caller may mint, of one profile
// alone where it is not empty.
func (c *Client) Keys(ctx context.Context, profile string) ([]Key, error) {
	var resp *jotsmithv1.ListKeysResponse
	err := c.call(ctx, func(ctx context.Context) (err error) {
		resp, err = c.keys.ListKeys(ctx, &jotsmithv1.ListKeysRequest{Profile: profile})
		return err
	})
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, k := range resp.GetKeys() {
		parsed, err := x509.ParsePKIXPublicKey(k.GetSpki())
		public, ok := parsed.(*ecdsa.PublicKey)
		if err != nil || !ok {
			return nil, fromStatus(status.New(codes.Internal, "the server's key "+k.GetKid()+" is no ECDSA key"))
		}
		keys = append(keys, Key{k.GetKid(), k.GetAlgorithm(), public, k.GetJwk(), k.GetProfiles()})
	}
	return keys, nil
}
