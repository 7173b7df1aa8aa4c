package service

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/quota"
	"github.com/jotsmith/jotsmith/service/signer"
)

// ExplainToken says what MintToken would answer, and signs nothing. Whoever has
// no grant for the profile learns what MintToken would tell him: nothing.
func (s *Service) ExplainToken(ctx context.Context, req *jotsmithv1.ExplainTokenRequest) (*jotsmithv1.ExplainTokenResponse, error) {
	call := s.begin(ctx, "ExplainToken", req.GetRequest().GetProfile())
	defer call.release()
	if call.fault != nil {
		return nil, call.end(ctx, call.fault)
	}
	resp, err := s.explain(call.in, call.caller, req.GetRequest())
	return resp, call.end(ctx, err)
}

func (s *Service) explain(in *Generation, caller authn.Caller, req *jotsmithv1.MintTokenRequest) (*jotsmithv1.ExplainTokenResponse, error) {
	grant, err := in.Policy.Decide(caller, req.GetProfile())
	if err != nil {
		return nil, err
	}
	resp := &jotsmithv1.ExplainTokenResponse{Grant: grant.Rule(), ConfigGeneration: in.ID}
	refuse := func(err error) {
		if err != nil {
			resp.Refusals = append(resp.Refusals, toStatus(err).Proto())
		}
	}
	now, untrusted := s.Clock.Now().Time()
	if untrusted != nil {
		now = s.Clock.Wall() // nothing is made of it but what the caller reads
	}
	asked, err := request(req)
	refuse(err)
	explained, err := in.Claims.Explain(grant, asked, now)
	if err != nil {
		return nil, err
	}
	refuse(explained.Refusal)
	approved := len(resp.Refusals) == 0
	left, exceeded := s.Quotas.Look(grant, s.Clock.Wall())
	refuse(exceeded)
	refuse(s.mayMint(in, grant))
	refuse(untrusted)
	refuse(in.keyFault(grant.Profile()))
	for _, d := range explained.Decisions {
		resp.Decisions = append(resp.Decisions, &jotsmithv1.ClaimDecision{Name: d.Name, Rule: d.Rule, Doc: d.Doc, Present: d.Present})
	}
	resp.Limits = explained.Limits
	if q := grant.Quota(); q != (policy.Quota{}) {
		resp.Limits = append(resp.Limits, fmt.Sprintf("the grant %s gives each caller %s; %d are left now", grant.Rule(), quota.Words(q), left))
	}
	if !approved {
		return resp, nil
	}
	header, err := in.Signer.Header(explained.Set)
	if err != nil && !errors.Is(err, signer.ErrNotReady) { // which is among the refusals
		return nil, err
	}
	resp.Header, resp.Claims = string(header), string(explained.Set.Payload())
	if explained.TTL > 0 {
		resp.Ttl = durationpb.New(explained.TTL)
	}
	return resp, nil
}

// keyFault says why the key of a profile cannot sign now, as far as is known.
func (in *Generation) keyFault(profile string) error {
	granted, ok := in.Claims.Profile(profile)
	if !ok {
		return nil
	}
	return in.Signer.Fault(granted.Key)
}
