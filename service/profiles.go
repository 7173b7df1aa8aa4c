package service

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// ListProfiles lists the profiles that the caller may mint.
func (s *Service) ListProfiles(ctx context.Context, _ *jotsmithv1.ListProfilesRequest) (*jotsmithv1.ListProfilesResponse, error) {
	call := s.begin(ctx, "ListProfiles", "")
	defer call.release()
	if call.fault != nil {
		return nil, call.end(ctx, call.fault)
	}
	in := call.in
	names, err := in.profiles(call.caller)
	if err != nil {
		return nil, call.end(ctx, err)
	}
	resp := &jotsmithv1.ListProfilesResponse{ConfigGeneration: in.ID}
	for _, name := range names {
		profile, err := in.profile(name)
		if err != nil {
			return nil, call.end(ctx, err)
		}
		resp.Profiles = append(resp.Profiles, s.describe(in, profile))
	}
	return resp, call.end(ctx, nil)
}

func (s *Service) describe(in *Generation, profile *claims.Profile) *jotsmithv1.Profile {
	p := &jotsmithv1.Profile{
		Name:        profile.Name,
		Description: profile.Description,
		Kid:         in.Signer.KID(profile.Key),
		Reuse:       string(profile.Mode()),
		LongLived:   profile.Lasting(),
	}
	if profile.Expires() {
		p.DefaultTtl, p.MaxTtl = durationpb.New(profile.DefaultTTL), durationpb.New(profile.MaxTTL)
	}
	if newest, ok := s.Ledger.Newest(profile.Name); ok && p.GetLongLived() {
		p.NewestExpireTime = timestamppb.New(newest)
	}
	return p
}
