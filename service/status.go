package service

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/signer"
)

// The longest texts that the operator gets of a fault and of a configuration, in
// bytes.
const (
	maxFaultText  = 4 << 10
	maxReloadText = 64 << 10
)

// Status says what the server is doing.
func (a *Admin) Status(context.Context, *jotsmithv1.StatusRequest) (*jotsmithv1.StatusResponse, error) {
	in, err := a.Service.use()
	if err != nil {
		return nil, err
	}
	defer in.release()
	reloads := a.AdminConfig.Status()
	resp := &jotsmithv1.StatusResponse{
		Version:          a.Version,
		StartTime:        timestamppb.New(a.Start),
		ConfigGeneration: in.ID,
		ConfigTime:       timestamppb.New(reloads.Since),
		Reloads:          reloads.Taken,
		FailedReloads:    reloads.Refused,
		Minted:           a.Service.counts.minted.Load(),
		Reused:           a.Service.counts.reused.Load(),
		Failed:           a.Service.counts.failed.Load(),
		Watches:          int64(a.Service.watches.count()),
		Alive:            a.alive(in, nil),
		Errors:           recentErrors(a.Service.recent.list()),
		DurationBounds:   metrics.Bounds(),
		CallsInFlight:    a.Service.gate.inside.Load(),
		GateRefusals:     a.Service.gate.refused.Load(),
		QuotaRefusals:    a.Service.Quotas.Refused(),
	}
	if reloads.Err != nil {
		resp.ReloadError = bounded(reloads.Err.Error(), maxReloadText)
	}
	kept, _ := a.Service.Tokens.Kept()
	resp.KeptTokens = int64(kept)
	a.count(resp, in)
	for _, key := range in.Signer.Keys() {
		status := in.keyStatus(key.Name)
		resp.Keys = append(resp.Keys, status)
		resp.Serving = resp.GetServing() || status.GetHealthy()
	}
	for _, b := range in.Signer.Stores() {
		resp.Backends = append(resp.Backends, backendStatus(b))
	}
	for _, c := range a.Certificates() {
		status := &jotsmithv1.CertificateStatus{
			Address: c.Address, ExpireTime: timestamppb.New(c.NotAfter), SpiffeId: c.SPIFFEID, TrustDomains: c.TrustDomains,
		}
		if c.Err != nil {
			status.Error = bounded(c.Err.Error(), maxFaultText)
		}
		resp.Certificates = append(resp.Certificates, status)
	}
	for _, e := range a.Service.Halt.Stopped() {
		resp.Disabled = append(resp.Disabled, &jotsmithv1.Disabled{
			Target: targetProto(e.Target), Reason: e.Reason, By: e.By, Time: timestamppb.New(e.Time),
		})
	}
	return resp, nil
}

// keyStatus returns the state of a key and, where it has several, of its places.
func (in *Generation) keyStatus(name string) *jotsmithv1.KeyStatus {
	status := &jotsmithv1.KeyStatus{Name: name, Kid: in.Signer.KID(name)}
	status.Healthy, status.Reason, status.Error = healthOf(in.Signer.Fault(name))
	members := in.Signer.Members(name)
	for i, m := range members {
		if m.First || i == 0 {
			status.Backend = m.Store
		}
		if len(members) == 1 {
			break
		}
		member := &jotsmithv1.MemberStatus{Backend: m.Store, Id: m.ID, First: m.First}
		member.Healthy, member.Reason, member.Error = healthOf(m.Fault)
		if m.Latency > 0 {
			member.Latency = durationpb.New(m.Latency)
		}
		status.Members = append(status.Members, member)
	}
	return status
}

// healthOf says in an operator's words what a fault means; nil is none.
func healthOf(fault error) (healthy bool, reason, text string) {
	if fault == nil {
		return true, "", ""
	}
	return false, reasonOf(toStatus(fault)), bounded(fault.Error(), maxFaultText)
}

// count adds what was counted of methods, profiles and callers.
func (a *Admin) count(resp *jotsmithv1.StatusResponse, in *Generation) {
	for _, m := range a.Service.Metrics.ReadMethods() {
		resp.Methods = append(resp.Methods, &jotsmithv1.MethodStatus{
			Name: m.Name, Answered: m.Answered, Failed: m.Failed, DurationCounts: m.Durations,
		})
	}
	for _, name := range in.Claims.Names() {
		counted := a.Service.Metrics.ReadProfile(name)
		profile := &jotsmithv1.ProfileStatus{Name: name, Minted: counted.Minted, Reused: counted.Reused}
		if known, ok := in.Claims.Profile(name); ok {
			profile.Key = known.Key
		}
		resp.Profiles = append(resp.Profiles, profile)
	}
	for _, c := range a.Service.callers.list() {
		resp.Callers = append(resp.Callers, &jotsmithv1.CallerStatus{
			Name: bounded(c.name, maxFaultText), Minted: c.minted, Reused: c.reused, Failed: c.failed,
		})
	}
}

func backendStatus(b signer.StoreStatus) *jotsmithv1.BackendStatus {
	counted := b.Metrics.Read()
	status := &jotsmithv1.BackendStatus{
		Name: b.Name, Scheme: b.Scheme, Healthy: b.Healthy,
		InFlight: int64(b.InFlight), MaxInFlight: int64(b.MaxInFlight),
		Waiting: int64(b.Waiting), MaxWaiting: int64(b.MaxQueue),
		Signatures: counted.Signatures, Failed: counted.Failed, DurationCounts: counted.Durations,
	}
	if b.Fault != nil {
		_, status.LastReason, status.LastError = healthOf(b.Fault)
		status.LastErrorTime = timestamppb.New(b.FaultTime)
	}
	return status
}

func recentErrors(newest []recentError) []*jotsmithv1.RecentError {
	all := make([]*jotsmithv1.RecentError, len(newest))
	for i, e := range newest {
		all[i] = &jotsmithv1.RecentError{
			Method: e.method, Reason: e.reason, Count: e.count, Time: timestamppb.New(e.time),
			Caller: bounded(e.caller, maxErrorText), Profile: e.profile, Error: e.text,
		}
	}
	return all
}
