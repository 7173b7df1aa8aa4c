package service

import (
	"time"

	"google.golang.org/grpc"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/metrics"
	"github.com/jotsmith/jotsmith/service/signer"
)

// MetricsConfig returns the names that the service is counted by.
func MetricsConfig() metrics.Config {
	cfg := metrics.Config{Reasons: []string{invalidRequest.Reason, internal.Reason}, Kinds: signer.Kinds()}
	for _, row := range failureTable {
		cfg.Reasons = append(cfg.Reasons, row.Reason)
	}
	for _, service := range []grpc.ServiceDesc{
		jotsmithv1.TokenService_ServiceDesc, jotsmithv1.ProfileService_ServiceDesc, jotsmithv1.KeyService_ServiceDesc,
	} {
		for _, m := range service.Methods {
			cfg.Calls = append(cfg.Calls, m.MethodName)
		}
		for _, m := range service.Streams {
			cfg.Streams = append(cfg.Streams, m.StreamName)
		}
	}
	return cfg
}

// adopt has everything counted by the names of a configuration.
func (s *Service) adopt(in *Generation) {
	var backends []string
	for _, b := range in.Signer.Stores() {
		backends = append(backends, b.Name)
	}
	s.Metrics.SetNames(in.Claims.Names(), backends)
	abreast := 0 // who waits for a store far away takes no processor time
	if in.Signer.AllInside() {
		abreast = s.Abreast
	}
	s.gate.abreast.Store(int64(abreast))
}

// State returns what the service is busy with now. What is known of reloads and
// listeners is not in it.
func (s *Service) State() metrics.State {
	in := s.current.Load() // whose signer may be looked at when it is closed, too
	state := metrics.State{
		CallsInFlight: s.gate.inside.Load(),
		GateRefusals:  s.gate.refused.Load(),
		Handshakes:    s.handshakes.failed.Load(),
		QuotaRefusals: s.Quotas.Refused(),
		Watches:       s.watches.count(),
		NewestExpiry:  map[string]time.Time{},
		Generation:    in.ID,
	}
	for _, b := range in.Signer.Stores() {
		state.Backends = append(state.Backends, metrics.BackendState{Name: b.Name, InFlight: b.InFlight, Waiting: b.Waiting})
	}
	state.Tokens, state.TokenBytes = s.Tokens.Kept()
	for _, key := range in.Signer.Keys() {
		k := metrics.KeyState{Name: key.Name, Healthy: in.Signer.Fault(key.Name) == nil, Latched: in.Signer.Latched(key.Name), In: map[string]bool{}}
		for _, m := range in.Signer.Members(key.Name) { // of which two can be in one store
			k.In[m.Store] = k.In[m.Store] || m.Fault == nil
		}
		state.Keys = append(state.Keys, k)
	}
	for _, name := range in.Claims.Names() {
		if profile, ok := in.Claims.Profile(name); ok && profile.Lasting() {
			if newest, ok := s.Ledger.Newest(name); ok {
				state.NewestExpiry[name] = newest
			}
		}
	}
	return state
}
