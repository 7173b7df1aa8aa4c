package service_test

import (
	"encoding/base64"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestListProfilesKnowsTheNewestExpiryOfLastingTokens(t *testing.T) {
	profiles := servicetest.Profiles()
	profiles[0].Description, profiles[0].MaxTTL = "a secret", 180*24*time.Hour
	s := servicetest.Start(t, servicetest.Options{Profiles: profiles})
	list := func() *jotsmithv1.Profile {
		t.Helper()
		resp, err := jotsmithv1.NewProfileServiceClient(s.Dial(t, nil)).ListProfiles(t.Context(), &jotsmithv1.ListProfilesRequest{})
		if err != nil || len(resp.GetProfiles()) != 1 || resp.GetConfigGeneration() != servicetest.Generation {
			t.Fatalf("%v, %v", resp, err)
		}
		return resp.GetProfiles()[0]
	}
	p := list()
	if p.GetName() != servicetest.Profile || p.GetDescription() != "a secret" || p.GetKid() != servicetest.KID || p.GetReuse() != "never" ||
		!p.GetLongLived() || p.GetNewestExpireTime() != nil ||
		p.GetDefaultTtl().AsDuration() != 5*time.Minute || p.GetMaxTtl().AsDuration() != 180*24*time.Hour {
		t.Errorf("profile %v", p)
	}
	var newest time.Time
	for _, days := range []int{90, 180, 30, 0} {
		req := request()
		if days > 0 {
			req.Ttl = durationpb.New(time.Duration(days) * 24 * time.Hour)
		}
		resp, err := s.Tokens(t).MintToken(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if at := resp.GetExpireTime().AsTime(); at.After(newest) {
			newest = at
		}
	}
	if got := list().GetNewestExpireTime().AsTime(); !got.Equal(newest) {
		t.Errorf("newest %v, want %v", got, newest)
	}
}

func TestListProfilesOfAnOrdinaryProfileKeepsNoExpiry(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{})
	if _, err := s.Tokens(t).MintToken(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	resp, err := jotsmithv1.NewProfileServiceClient(s.Dial(t, nil)).ListProfiles(t.Context(), &jotsmithv1.ListProfilesRequest{})
	if err != nil || resp.GetProfiles()[0].GetLongLived() || resp.GetProfiles()[0].GetNewestExpireTime() != nil {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestListProfilesIsForThoseWithAGrant(t *testing.T) {
	other := uint32(4_000_000)
	s := servicetest.Start(t, servicetest.Options{UID: &other})
	_, err := jotsmithv1.NewProfileServiceClient(s.Dial(t, nil)).ListProfiles(t.Context(), &jotsmithv1.ListProfilesRequest{})
	if got := seen(t, err); got.code != codes.PermissionDenied || got.reason != "NOT_GRANTED" {
		t.Errorf("got %+v", got)
	}
}
