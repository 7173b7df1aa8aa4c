package main

import (
	"context"
	"errors"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/authn/spiffe"
)

// follow opens the stream from the SPIFFE agent of the listener at a place,
// which outlives every generation, and returns the terms that it brings.
func (r *reloader) follow(ctx context.Context, place int, t *configv1.TcpListener) (*authn.Trust, error) {
	source, err := spiffe.Open(ctx, spiffe.Config{
		WorkloadAPI:  t.GetSpiffe().GetWorkloadApi(),
		StartTimeout: t.GetSpiffe().GetStartTimeout().AsDuration(),
		Settings:     agentSettings(t),
		OnChange:     r.service.KeysChanged, // for watches to look whether their callers are known still
		Log:          r.log.With("address", t.GetAddress()),
	})
	if err != nil {
		return nil, err
	}
	r.sources[place] = source
	return source.Trust(), nil
}

// closeSources ends the streams from SPIFFE agents.
func (r *reloader) closeSources() error {
	var errs []error
	for _, source := range r.sources {
		errs = append(errs, source.Close())
	}
	return errors.Join(errs...)
}

// agentSettings are what a reload can change of a listener with an agent.
func agentSettings(t *configv1.TcpListener) spiffe.Settings {
	return spiffe.Settings{
		ID: t.GetSpiffe().GetSpiffeId(), TrustDomains: t.GetSpiffe().GetTrustDomains(), Optional: t.GetClientCertificateOptional(),
	}
}

// nextTerms makes the terms of the TLS listener at a place, and returns what
// takes them up.
func (r *reloader) nextTerms(place int, t *configv1.TcpListener) (take func(), err error) {
	if source := r.sources[place]; source != nil {
		settings := agentSettings(t)
		return func() { source.Set(settings) }, source.Check(settings)
	}
	if t.GetPlaintextLoopback() {
		return func() {}, nil
	}
	terms, err := readTerms(t)
	return func() { r.trusts[place].Replace(terms) }, err
}

// certificates returns what the TLS listeners show, and that of the published
// keys.
func (r *reloader) certificates() []service.CertificateStatus {
	var all []service.CertificateStatus
	for i, l := range r.listeners.Load().GetListeners() {
		if l.GetTcp() == nil || l.GetTcp().GetPlaintextLoopback() {
			continue
		}
		status := service.CertificateStatus{Address: l.GetTcp().GetAddress()}
		if source := r.sources[i]; source != nil {
			agent := source.Status()
			status.SPIFFEID, status.TrustDomains, status.Err = agent.ID, agent.TrustDomains, agent.Fault
		}
		if leaf := r.trusts[i].Certificate(); leaf != nil {
			status.NotAfter = leaf.NotAfter
		}
		all = append(all, status)
	}
	if r.published != nil {
		all = append(all, service.CertificateStatus{
			Address: r.listeners.Load().GetPublish().GetAddress(), NotAfter: r.published.Load().Leaf.NotAfter,
		})
	}
	return all
}
