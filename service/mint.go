package service

import (
	"context"
	"encoding/base64"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
)

// mint is the product: who asks has a grant for the profile, the profile's
// rules make the claims set, and its key signs it, or has signed it before. All
// of it is under one configuration, which the caller of mint holds.
func (s *Service) mint(ctx context.Context, in *Generation, caller authn.Caller, req *jotsmithv1.MintTokenRequest, watched bool) (minted, error) {
	made := sealed{service: s, in: in, watched: watched}
	if err := made.seal(ctx, caller, req); err != nil {
		return minted{}, err
	}
	return made.open(ctx)
}

// sealed is a token that nobody may have yet.
type sealed struct {
	service  *Service
	in       *Generation
	watched  bool
	draft    claims.Draft
	token    reuse.Sealed
	recorded bool          // or else, of one that is kept,
	receipt  audit.Receipt // this is waited for
}

// seal is mint up to the wait for the record of the token, which open does.
func (m *sealed) seal(ctx context.Context, caller authn.Caller, req *jotsmithv1.MintTokenRequest) error {
	s, in := m.service, m.in
	grant, err := in.Policy.Decide(caller, req.GetProfile())
	if err != nil {
		return err
	}
	if err := s.withinQuota(grant, m.watched); err != nil {
		return err
	}
	if err := s.mayMint(in, grant); err != nil {
		return err
	}
	asked, err := request(req)
	if err != nil {
		return err
	}
	if m.draft, err = in.Claims.Prepare(grant, asked); err != nil {
		return err
	}
	if m.token, err = s.Tokens.Seal(ctx, in.Signer, m.draft, s.Clock.Now()); err != nil {
		return err
	}
	m.recorded = true
	if token, kept := m.token.Kept(); kept {
		m.receipt, m.recorded, err = s.recordReuse(ctx, in, m.draft, token)
	}
	return err
}

// open returns the token when its record is confirmed.
func (m *sealed) open(ctx context.Context) (minted, error) {
	token, err := m.token.Open(ctx)
	if err != nil {
		return minted{}, err
	}
	if !m.recorded {
		if err := m.receipt.Wait(ctx); err != nil {
			return minted{}, err
		}
	}
	grant := m.draft.Grant()
	if token.Own || !m.recorded {
		token.Holders.Add(holder(m.in, grant))
	}
	s := m.service
	s.count(token, grant)
	if m.watched && !token.Reused {
		_ = s.Quotas.Take(grant, s.Clock.Wall()) // it was there when the watch looked
	}
	return minted{token, m.draft.Profile(), m.in}, nil
}

// withinQuota counts a request, or says why there may be none now. A watch is
// counted when a token is signed for it, and not each time that it looks.
func (s *Service) withinQuota(grant policy.Grant, watched bool) error {
	if !s.Quotas.Counts(grant) {
		return nil // and the clock is not asked
	}
	if watched {
		_, err := s.Quotas.Look(grant, s.Clock.Wall())
		return err
	}
	return s.Quotas.Take(grant, s.Clock.Wall())
}

// mayMint says whether an operator lets the grant's profile be minted now.
func (s *Service) mayMint(in *Generation, grant policy.Grant) error {
	profile, ok := in.Claims.Profile(grant.Profile())
	if s.Halt == nil || !ok {
		return nil
	}
	return s.Halt.Check(profile.Key, profile.Name, grant.Caller().String())
}

// count counts a token that is handed out.
func (s *Service) count(token reuse.Token, grant policy.Grant) {
	s.Metrics.Token(grant.Profile(), token.Reused)
	s.callers.token(grant.Caller(), token.Reused)
	if token.Reused {
		s.counts.reused.Add(1)
		return
	}
	s.counts.minted.Add(1)
}

// counts is what was answered since the start.
type counts struct{ minted, reused, failed atomic.Int64 }

// minted is a token with what it was minted under.
type minted struct {
	reuse.Token
	profile *claims.Profile
	in      *Generation
}

// response is the token as its caller gets it at the time now.
func (m minted) response(now time.Time) (*jotsmithv1.MintTokenResponse, error) {
	one := new(struct { // one allocation for all
		resp                           jotsmithv1.MintTokenResponse
		issue, expire, refresh, answer timestamppb.Timestamp
	})
	resp := &one.resp
	resp.Token, resp.Kid = m.Compact.Reveal(), m.KID
	resp.IssueTime = timestampIn(&one.issue, m.IssueTime)
	resp.ExpireTime = timestampIn(&one.expire, m.ExpireTime)
	resp.RefreshTime = timestampIn(&one.refresh, m.RefreshTime)
	one.answer.Seconds, one.answer.Nanos = now.Unix(), int32(now.Nanosecond())
	resp.AnswerTime = &one.answer
	resp.ConfigGeneration = m.in.ID
	resp.Reused = m.Reused
	if m.profile.AnswerPublicKey {
		point, err := m.in.Signer.Point(m.profile.Key)
		if err != nil {
			return nil, err
		}
		resp.PublicKey = base64.RawURLEncoding.EncodeToString(point)
	}
	return resp, nil
}

// timestampIn puts a time of whole seconds into a timestamp for the wire; nil
// for none.
func timestampIn(into *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	into.Seconds = t.Unix()
	return into
}

// request reads what the caller asks for. Where a part of it is malformed, the
// request is returned without that part and with the error.
func request(req *jotsmithv1.MintTokenRequest) (claims.Request, error) {
	asked := claims.Request{Claims: req.GetClaims()}
	var refusal claims.Refusal
	asked.TTL = durationOf("ttl", req.GetTtl(), &refusal)
	asked.MinRemaining = durationOf("min_remaining", req.GetMinRemaining(), &refusal)
	if len(refusal.Violations) > 0 {
		return asked, &refusal
	}
	return asked, nil
}

// MintToken mints one token.
func (s *Service) MintToken(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	call := s.begin(ctx, "MintToken", req.GetProfile())
	defer call.release()
	resp, err := call.mint(ctx, req)
	return resp, call.end(ctx, err)
}

// mint answers one request of a call, and records it where it is refused.
func (c *call) mint(ctx context.Context, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.MintTokenResponse, error) {
	var made sealed
	if err := c.seal(ctx, req, &made); err != nil {
		return nil, err
	}
	return c.open(ctx, &made)
}

// seal is mint up to the wait for the record of the token.
func (c *call) seal(ctx context.Context, req *jotsmithv1.MintTokenRequest, made *sealed) error {
	made.service, made.in = c.service, c.in
	err := c.fault
	if err == nil {
		err = made.seal(ctx, c.caller, req)
	}
	if err != nil {
		c.service.recordRefusal(ctx, c.in, c.caller, req.GetProfile(), err)
	}
	return err
}

// open answers with a token when its record is confirmed.
func (c *call) open(ctx context.Context, made *sealed) (*jotsmithv1.MintTokenResponse, error) {
	token, err := made.open(ctx)
	if err != nil {
		return nil, err
	}
	return token.response(c.service.Clock.Wall())
}

// durationOf returns a duration asked for, nil where none is, or adds to the
// refusal that it is none.
func durationOf(field string, asked *durationpb.Duration, refusal *claims.Refusal) *time.Duration {
	if asked == nil {
		return nil
	}
	d := asked.AsDuration()
	if asked.CheckValid() != nil || !sameDuration(asked, d) {
		refusal.Violations = append(refusal.Violations, claims.Violation{Field: field, Description: "is not a duration that can be worked with"})
		return nil
	}
	return &d
}

// sameDuration says whether d is p and not p cut to what a Duration can hold.
func sameDuration(p *durationpb.Duration, d time.Duration) bool {
	again := durationpb.New(d)
	return again.GetSeconds() == p.GetSeconds() && again.GetNanos() == p.GetNanos()
}
