package config

import (
	"time"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// Rotation says how the versions of a key follow one another.
type Rotation struct {
	VerifierCache time.Duration
	Every         time.Duration // 0 is when an operator says so
	Longest       time.Duration // the longest that a token of the key can be valid
	Endless       bool          // some of its tokens have no end
}

// defaultVerifierCache is what config.proto promises for keys that verifiers
// fetch.
const defaultVerifierCache = 24 * time.Hour

// leastVerifierCache is for how long verifiers are told to keep keys, at the
// least.
const leastVerifierCache = 5 * time.Minute

// rotations works out how the versions of each key follow one another.
func (c *checker) rotations() {
	c.config.Rotations = map[string]Rotation{}
	for name, k := range sorted(c.config.GetKeys()) {
		if len(k.GetVersions()) == 0 {
			continue
		}
		out := Rotation{Every: k.GetRotation().GetEvery().AsDuration()}
		given := true // every consumer is given the keys
		for _, p := range c.config.ClaimProfiles {
			if p.Key != name {
				continue
			}
			given = given && c.presets[c.config.GetProfiles()[p.Name].GetPreset()].GetConsumerGivesKid()
			longest, ends := longestLife(&p)
			out.Longest, out.Endless = max(out.Longest, longest), out.Endless || !ends
		}
		switch cache := k.GetRotation().GetVerifierCache(); {
		case cache != nil:
			out.VerifierCache = cache.AsDuration()
			if !given && out.VerifierCache < leastVerifierCache {
				c.add(strictyaml.Path{"keys", strictyaml.Key(name), "rotation", "verifier_cache"},
					"verifiers are told to keep published keys for 5 minutes; set it to the longest that they do, 5m at the least")
			}
		case !given:
			out.VerifierCache = defaultVerifierCache
		}
		c.config.Rotations[name] = out
	}
}

// longestLife returns for how long a token of a profile can be valid from its
// signature on; false where it has no end.
func longestLife(p *claims.Profile) (time.Duration, bool) {
	if p.Expires() {
		return p.MaxTTL, true
	}
	return p.MaxAge, p.MaxAge > 0
}

// kidsGiven refuses a key without a kid where its consumer knows it by one.
func (c *checker) kidsGiven(at strictyaml.Path, p *configv1.Profile, key *configv1.Key) {
	const mend = "has no kid, and the consumer of the preset %s knows it by the one that it gave it; add `kid: ...` to %s"
	if len(key.GetVersions()) == 0 {
		if key.Kid == nil {
			c.add(at, "the key %q "+mend, p.GetKey(), p.GetPreset(), "the key")
		}
		return
	}
	for i, v := range key.GetVersions() {
		if v.Kid == nil {
			c.add(at, "version %d of the key %q "+mend, i+1, p.GetKey(), p.GetPreset(), "it")
		}
	}
}
