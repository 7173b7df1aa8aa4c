package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/publish"
)

// ListKeys lists the public keys of the profiles that the caller may mint.
func (s *Service) ListKeys(ctx context.Context, req *jotsmithv1.ListKeysRequest) (*jotsmithv1.ListKeysResponse, error) {
	call := s.begin(ctx, "ListKeys", req.GetProfile())
	defer call.release()
	if call.fault != nil {
		return nil, call.end(ctx, call.fault)
	}
	keys, err := call.in.keys(call.caller, req.GetProfile())
	if err != nil {
		return nil, call.end(ctx, err)
	}
	return &jotsmithv1.ListKeysResponse{Keys: keys, ConfigGeneration: call.in.ID}, call.end(ctx, nil)
}

// profiles returns the names of the profiles that the caller may mint, or
// ErrNotGranted.
func (in *Generation) profiles(caller authn.Caller) ([]string, error) {
	profiles := in.Policy.Profiles(caller)
	if len(profiles) == 0 {
		return nil, policy.ErrNotGranted
	}
	return profiles, nil
}

// profile returns a profile that a grant names.
func (in *Generation) profile(name string) (*claims.Profile, error) {
	profile, ok := in.Claims.Profile(name)
	if !ok {
		return nil, fmt.Errorf("a grant names the profile %q, which is not there", name)
	}
	return profile, nil
}

// keys returns the keys of one profile, or of all, that the caller may mint.
func (in *Generation) keys(caller authn.Caller, profile string) ([]*jotsmithv1.Key, error) {
	profiles, err := in.profiles(caller)
	if err != nil {
		return nil, err
	}
	if profile != "" {
		if _, err := in.Policy.Decide(caller, profile); err != nil {
			return nil, err
		}
		profiles = []string{profile}
	}

	byKID := map[string]*jotsmithv1.Key{}
	for _, name := range profiles {
		granted, err := in.profile(name)
		if err != nil {
			return nil, err
		}
		for _, public := range in.PublishedKeys(granted.Key) {
			key, ok := byKID[public.KID]
			if !ok {
				if key, err = written(public); err != nil {
					return nil, err
				}
				byKID[public.KID] = key
			}
			key.Profiles = append(key.Profiles, name)
		}
	}

	keys := make([]*jotsmithv1.Key, 0, len(byKID))
	for _, key := range byKID {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b *jotsmithv1.Key) int { return cmp.Compare(a.GetKid(), b.GetKid()) })
	return keys, nil
}

// written writes a public key in the forms that verifiers take.
func written(public publish.Key) (*jotsmithv1.Key, error) {
	spki, err := x509.MarshalPKIXPublicKey(public.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", public.KID, err)
	}
	jwk, err := public.JWK()
	if err != nil {
		return nil, err
	}
	return &jotsmithv1.Key{Kid: public.KID, Algorithm: publish.Algorithm, Spki: spki, Jwk: jwk}, nil
}
