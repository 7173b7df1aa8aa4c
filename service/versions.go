package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/rotation"
)

// ListKeyVersions lists how the versions of keys stand.
func (a *Admin) ListKeyVersions(_ context.Context, req *jotsmithv1.ListKeyVersionsRequest) (*jotsmithv1.ListKeyVersionsResponse, error) {
	resp := &jotsmithv1.ListKeyVersionsResponse{}
	versions := a.Service.current.Load().Versions
	if versions == nil {
		return resp, nil
	}
	for _, report := range versions.Reports() {
		if req.GetKey() == "" || req.GetKey() == report.Name {
			resp.Keys = append(resp.Keys, a.keyVersions(report))
		}
	}
	if req.GetKey() != "" && len(resp.Keys) == 0 {
		return nil, rotation.ErrNoVersion
	}
	return resp, nil
}

// RotateKey has another version of a key sign.
func (a *Admin) RotateKey(ctx context.Context, req *jotsmithv1.RotateKeyRequest) (*jotsmithv1.RotateKeyResponse, error) {
	versions, will, err := a.versionCall(ctx, req)
	if err != nil {
		return nil, err
	}
	report, err := versions.Rotate(ctx, req.GetKey(), req.GetKid(), will, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &jotsmithv1.RotateKeyResponse{Key: a.keyVersions(report)}, nil
}

// DropKeyVersion publishes a version no more.
func (a *Admin) DropKeyVersion(ctx context.Context, req *jotsmithv1.DropKeyVersionRequest) (*jotsmithv1.DropKeyVersionResponse, error) {
	if req.GetKid() == "" {
		return nil, invalid("kid", "is missing")
	}
	versions, will, err := a.versionCall(ctx, req)
	if err != nil {
		return nil, err
	}
	report, err := versions.Drop(ctx, req.GetKey(), req.GetKid(), will, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	resp := &jotsmithv1.DropKeyVersionResponse{Key: a.keyVersions(report)}
	for _, left := range a.alive(a.Service.current.Load(), nil) {
		if left.GetKid() == req.GetKid() {
			resp.Alive = append(resp.Alive, left)
		}
	}
	return resp, nil
}

// versionRequest is what RotateKey and DropKeyVersion ask for.
type versionRequest interface {
	GetKey() string
	GetKid() string
	GetForce() bool
	GetReason() string
}

// versionCall checks a request, and returns whom to ask and who wants it.
func (a *Admin) versionCall(ctx context.Context, req versionRequest) (*rotation.Keeper, rotation.Will, error) {
	switch {
	case req.GetKey() == "" || len(req.GetKey()) > maxProfileName:
		return nil, rotation.Will{}, invalid("key", "is empty, or longer than 128 bytes")
	case len(req.GetKid()) > maxProfileName:
		return nil, rotation.Will{}, invalid("kid", "is longer than 128 bytes")
	case len(req.GetReason()) > maxReason:
		return nil, rotation.Will{}, invalid("reason", "is longer than 512 bytes")
	case req.GetForce() && req.GetReason() == "":
		return nil, rotation.Will{}, invalid("reason", "is missing; what is forced needs one")
	}
	versions := a.Service.current.Load().Versions
	if versions == nil {
		return nil, rotation.Will{}, rotation.ErrNoVersion
	}
	by, _ := authn.FromContext(ctx) // admit has seen him
	return versions, rotation.Will{By: by.String(), Proof: by.Proof(), Why: req.GetReason(), Force: req.GetForce()}, nil
}

// keyVersions is a report for the wire.
func (a *Admin) keyVersions(report rotation.Report) *jotsmithv1.KeyVersions {
	out := &jotsmithv1.KeyVersions{Key: report.Name, VerifierCache: durationpb.New(report.Terms.VerifierCache)}
	if report.Order != nil {
		out.OrderedKid = report.Order.KID
	}
	if report.Terms.Every > 0 {
		out.Every = durationpb.New(report.Terms.Every)
	}
	for _, v := range report.Versions {
		newest := v.NewestEnd
		if end, ok := a.Service.Ledger.End(v.KID); ok && end.After(newest) {
			newest = end
		}
		out.Versions = append(out.Versions, &jotsmithv1.KeyVersion{
			Kid: v.KID, Standing: standingProto(v.Standing), Healthy: report.Terms.Able(v),
			PublishTime: timestamp(v.Published), ActivateTime: timestamp(v.Activated), RetireTime: timestamp(v.Retired),
			DropTime: timestamp(v.Gone), NewestExpireTime: timestamp(newest),
		})
	}
	for _, step := range report.Steps {
		out.Steps = append(out.Steps, &jotsmithv1.RotationStep{
			Kid: step.KID, Standing: standingProto(step.To), Time: timestamp(step.Time), Wait: waitProto(step.Why),
		})
	}
	return out
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func standingProto(s rotation.Standing) jotsmithv1.KeyVersion_Standing {
	switch s {
	case rotation.Next:
		return jotsmithv1.KeyVersion_STANDING_NEXT
	case rotation.Active:
		return jotsmithv1.KeyVersion_STANDING_ACTIVE
	case rotation.Retired:
		return jotsmithv1.KeyVersion_STANDING_RETIRED
	case rotation.Gone:
		return jotsmithv1.KeyVersion_STANDING_GONE
	}
	return jotsmithv1.KeyVersion_STANDING_UNSPECIFIED
}

func waitProto(w rotation.Why) jotsmithv1.RotationStep_Wait {
	switch w {
	case rotation.WhyVerifiers:
		return jotsmithv1.RotationStep_WAIT_VERIFIERS
	case rotation.WhySchedule:
		return jotsmithv1.RotationStep_WAIT_SCHEDULE
	case rotation.WhyOrder:
		return jotsmithv1.RotationStep_WAIT_OPERATOR
	case rotation.WhyReplaced:
		return jotsmithv1.RotationStep_WAIT_SUCCESSOR
	case rotation.WhyTokens:
		return jotsmithv1.RotationStep_WAIT_TOKENS
	case rotation.WhyLimit:
		return jotsmithv1.RotationStep_WAIT_LIMIT
	case rotation.WhyEndless:
		return jotsmithv1.RotationStep_WAIT_ENDLESS
	case rotation.WhyStore:
		return jotsmithv1.RotationStep_WAIT_STORE
	case rotation.WhyVersion:
		return jotsmithv1.RotationStep_WAIT_VERSION
	}
	return jotsmithv1.RotationStep_WAIT_UNSPECIFIED
}
