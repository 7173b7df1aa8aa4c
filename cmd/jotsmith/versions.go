package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// openVersions opens what is remembered of the versions of keys; nil where the
// configuration has no rotation_file. A dry one remembers nothing.
func openVersions(ctx context.Context, cfg *config.Config, dry bool, records *audit.Log, minted *ledger.Ledger, now func() (time.Time, error), changed func(), log *slog.Logger) (*rotation.Keeper, error) {
	if cfg.GetRotationFile() == "" {
		return nil, nil
	}
	var store rotation.Store = rotation.File{Path: cfg.GetRotationFile()}
	if dry {
		store = rotation.Dry(store)
	}
	return rotation.Open(ctx, rotation.Config{
		Store: store, Known: minted, Now: now, Log: log, Changed: changed, Record: service.RecordVersion(records),
	})
}

// verifierCaches returns for how long verifiers keep each key that has versions.
func verifierCaches(cfg *config.Config) map[string]time.Duration {
	caches := map[string]time.Duration{}
	for name, how := range cfg.Rotations {
		caches[name] = how.VerifierCache
	}
	return caches
}

// rings are the keys of a configuration that have versions.
type rings struct {
	cfg  *config.Config
	keys *signer.Signer
}

// Terms returns what is configured for each key, and what its stores say of it.
func (r rings) Terms() map[string]rotation.Terms {
	all := map[string]rotation.Terms{}
	for name, how := range r.cfg.Rotations {
		read := map[int]signer.VersionStatus{}
		for _, v := range r.keys.Versions(name) {
			read[v.Key.Version] = v
		}
		terms := rotation.Terms{VerifierCache: how.VerifierCache, Every: how.Every, Longest: how.Longest, Endless: how.Endless}
		for _, k := range r.cfg.SigningKeys {
			if k.Name == name {
				terms.Candidates = append(terms.Candidates, candidate(k, read[k.Version]))
			}
		}
		all[name] = terms
	}
	return all
}

// Activate has a version sign.
func (r rings) Activate(key, kid string) { r.keys.Activate(key, kid) }

// candidate is a version as far as it was read from its store.
func candidate(k signer.Key, read signer.VersionStatus) rotation.Candidate {
	c := rotation.Candidate{Place: k.Places()}
	if read.Public == nil {
		return c
	}
	spki, err := x509.MarshalPKIXPublicKey(read.Public.PublicKey)
	if err != nil {
		return c // as one that was not read
	}
	c.KID, c.SPKI, c.Able = read.Public.KID, spki, read.Fault == nil
	return c
}

// toLoad returns the keys that are read from their stores: all but the versions
// that are gone.
func toLoad(keys []signer.Key, versions *rotation.Keeper) []signer.Key {
	if versions == nil {
		return keys
	}
	var left []signer.Key
	for _, k := range keys {
		if k.Version > 0 {
			standing := versions.At(k.Name, k.Places())
			if standing == rotation.Gone {
				continue
			}
			k.Resting = standing == rotation.Retired
		}
		left = append(left, k)
	}
	return left
}
