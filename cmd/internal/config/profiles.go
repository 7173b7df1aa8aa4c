package config

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// profiles turns each profile, on top of its preset, into what claims takes.
func (c *checker) profiles() {
	for name, p := range sorted(c.config.GetProfiles()) {
		at := strictyaml.Path{"profiles", strictyaml.Key(name)}
		if p.GetKey() == "" {
			c.add(at.With("key"), "is missing; there is %s", names(c.config.GetKeys()))
		} else if _, ok := c.config.GetKeys()[p.GetKey()]; !ok {
			c.add(at.With("key"), "there is no key %q; there is %s", p.GetKey(), names(c.config.GetKeys()))
		}
		preset := noPreset()
		if p.GetPreset() != "" {
			var ok bool
			if preset, ok = c.presets[p.GetPreset()]; !ok {
				c.add(at.With("preset"), "there is no preset %q; there is %s", p.GetPreset(), names(c.presets))
				continue
			}
		}
		c.config.ClaimProfiles = append(c.config.ClaimProfiles, c.profile(at, name, p, preset))
	}
}

// profile joins one profile with its preset.
func (c *checker) profile(at strictyaml.Path, name string, p *configv1.Profile, preset *configv1.Preset) claims.Profile {
	base := preset.GetProfile()
	if p.GetOmitKid() && !base.GetOmitKid() && !preset.GetOpen() {
		c.add(at.With("omit_kid"), "the preset %s has a kid; remove this", p.GetPreset())
	}
	out := claims.Profile{
		Name:            name,
		Description:     orDefault(p.GetDescription(), base.GetDescription()),
		Key:             p.GetKey(),
		Typ:             c.typ(at, p, preset),
		OmitKID:         p.GetOmitKid() || base.GetOmitKid(),
		AnswerPublicKey: p.GetAnswerPublicKey() || base.GetAnswerPublicKey(),
		LongLived:       longLived(preset),
		RevocationURL:   preset.GetRevocationUrl(),
	}
	key := c.config.GetKeys()[p.GetKey()]
	if preset.GetConsumerGivesKid() && key != nil {
		c.kidsGiven(at.With("key"), p, key)
	}
	rules := ruleJoiner{checker: c, preset: preset, presetName: p.GetPreset(), key: key}
	out.Rules = rules.claims(at.With("claims"), p)
	out.Header = rules.header(at.With("header"), p, out.Rules)
	out.AuditShows = c.auditShows(at.With("audit_shows"), p.GetAuditShows(), out.Rules)
	c.times(at, p, preset, &out)
	c.reuse(at.With("reuse"), p, preset, &out)
	c.dated(at.With("claims"), p, &out)
	return out
}

func (c *checker) typ(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset) string {
	typ := preset.GetProfile().GetTyp()
	if p.GetTyp() != "" {
		if !preset.GetOpen() && p.GetTyp() != typ {
			c.add(at.With("typ"), "the preset %s fixes typ to %q; remove this", p.GetPreset(), typ)
		}
		typ = p.GetTyp()
	}
	if strings.ContainsAny(typ, `"\`) {
		c.add(at.With("typ"), "a media type (RFC 6838) has neither quotes nor backslashes")
	}
	if typ == "none" {
		return ""
	}
	return typ
}

// dated refuses tokens of which nobody could say how old they are, or that
// would be good for ever.
func (c *checker) dated(at strictyaml.Path, p *configv1.Profile, out *claims.Profile) {
	has := func(name string) bool { // a rule that is wrong has been said to be
		rule, ok := out.Rules[name]
		return ok && !rule.Forbidden
	}
	for name, rule := range sorted(out.Rules) {
		if rule.Computed == claims.ExpireTime && !has("exp") {
			c.add(at.With(strictyaml.Key(name)), "is the time of exp, and this profile has none; add `exp: {computed: expire_time}`")
		}
	}
	switch {
	case p.GetPreset() != "" && (has("exp") || has("iat")):
	case !has("iat"):
		c.add(at, "iat is missing; add `iat: {computed: issue_time}`")
	case !has("exp") && out.MaxAge == 0:
		c.add(at, "exp is missing; add `exp: {computed: expire_time}`, or say in max_age for how long after iat the verifier accepts a token")
	}
}

// times sets the lifetimes, which a profile may shorten and not lengthen.
func (c *checker) times(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset, out *claims.Profile) {
	base := preset.GetProfile()
	out.Backdate = c.lowered(at, "", base.GetBackdate(), p.GetBackdate())
	out.MaxLifetime = c.lowered(at.With("max_lifetime"), p.GetPreset(), base.GetMaxLifetime(), p.GetMaxLifetime())
	out.MaxAge = c.lowered(at.With("max_age"), p.GetPreset(), base.GetMaxAge(), p.GetMaxAge())
	if !out.Expires() {
		c.onlyWithExp(at, p, out)
		return
	}
	if p.GetMaxAge() != nil {
		c.add(at.With("max_age"), "is for tokens without exp; set max_ttl")
	}
	out.DefaultTTL = c.lowered(at, "", base.GetDefaultTtl(), p.GetDefaultTtl())

	ordinary := longest // exp - now
	if limit := base.GetMaxTtl().AsDuration(); limit > 0 {
		ordinary = limit
	}
	if out.MaxLifetime > 0 {
		ordinary = min(ordinary, out.MaxLifetime-out.Backdate)
	}
	most := ordinary
	if out.LongLived != nil && p.GetMaxLifetime() == nil {
		most = out.LongLived.MaxLifetime - out.Backdate
	}
	switch {
	case p.GetMaxTtl() != nil:
		out.MaxTTL = p.GetMaxTtl().AsDuration()
		if out.MaxTTL > most && most < longest {
			c.add(at.With("max_ttl"), "is over %s, the most that the %s allows with a backdate of %s", most, limitOf(p), out.Backdate)
			out.MaxTTL = most
		}
	case preset.GetDefaultMaxTtl() != nil:
		out.MaxTTL = min(preset.GetDefaultMaxTtl().AsDuration(), ordinary)
	default:
		out.MaxTTL = ordinary
	}

	if out.DefaultTTL > out.MaxTTL && p.GetDefaultTtl() == nil {
		out.DefaultTTL = out.MaxTTL // a lowered limit lowers the preset's default with it
	}
	limit := min(out.MaxTTL, ordinary) // a token is long-lived only when it is asked to be
	switch {
	case out.DefaultTTL <= limit:
	case limit < ordinary && p.GetMaxTtl() == nil:
		c.add(at.With("default_ttl"), "is over the profile's max_ttl of %s, which is the default; set it, or lower this", limit)
	case limit < ordinary:
		c.add(at.With("default_ttl"), "is over the profile's max_ttl of %s; raise that, or lower this", limit)
	case limit == out.MaxTTL:
		c.add(at.With("default_ttl"), "is over the profile's max_ttl of %s, the most that the %s allows with a backdate of %s", limit, limitOf(p), out.Backdate)
	default:
		c.add(at.With("default_ttl"), "is over %s, which the preset %s allows only to a caller who asks for it", limit, p.GetPreset())
	}
	if out.MaxLifetime > 0 && out.MaxLifetime <= out.Backdate {
		c.add(at.With("max_lifetime"), "is used up by a backdate of %s", out.Backdate)
	}
	c.workable(at, map[string]time.Duration{"default_ttl": out.DefaultTTL, "max_ttl": out.MaxTTL, "backdate": out.Backdate, "max_lifetime": out.MaxLifetime})
}

// limitOf names whose limit max_ttl is held to.
func limitOf(p *configv1.Profile) string {
	if p.GetMaxLifetime() != nil {
		return "profile's max_lifetime"
	}
	return "preset " + p.GetPreset()
}

// onlyWithExp refuses the times of exp where there is none.
func (c *checker) onlyWithExp(at strictyaml.Path, p *configv1.Profile, out *claims.Profile) {
	for field, set := range sorted(map[string]bool{
		"default_ttl": p.GetDefaultTtl() != nil, "max_ttl": p.GetMaxTtl() != nil, "max_lifetime": p.GetMaxLifetime() != nil,
	}) {
		if set {
			c.add(at.With(field), "is for tokens with exp, and this profile has none")
		}
	}
	if out.MaxAge > 0 && out.MaxAge <= out.Backdate {
		c.add(at.With("max_age"), "is used up by a backdate of %s", out.Backdate)
	}
	c.workable(at, map[string]time.Duration{"backdate": out.Backdate, "max_age": out.MaxAge})
}

// workable refuses times that no claim can hold.
func (c *checker) workable(at strictyaml.Path, times map[string]time.Duration) {
	for field, d := range sorted(times) {
		switch {
		case d > longest:
			c.add(at.With(field), "is over ten years (87600h)")
		case d%time.Second != 0:
			c.add(at.With(field), "%s is not a whole number of seconds", d)
		}
	}
}

// lowered returns the profile's own time or, where it has none, the preset's.
// Where limitOf names the preset, the preset's is a limit.
func (c *checker) lowered(at strictyaml.Path, limitOf string, base, own *durationpb.Duration) time.Duration {
	limit, d := base.AsDuration(), own.AsDuration()
	if own == nil {
		return limit
	}
	if limitOf != "" && limit > 0 && d > limit {
		c.add(at, "is over %s, the limit of the preset %s", limit, limitOf)
	}
	return d
}

// longest is the longest that any profile can say: what is far below the limit
// of the type that holds it, where a longer one would be cut to another.
const longest = 10 * 365 * 24 * time.Hour

func longLived(preset *configv1.Preset) *claims.LongLived {
	if preset.GetLongLived() == nil {
		return nil
	}
	return &claims.LongLived{
		Claim:       preset.GetLongLived().GetClaim(),
		Check:       preset.GetLongLived().GetCheck(),
		MaxLifetime: preset.GetLongLived().GetMaxLifetime().AsDuration(),
	}
}

// reuse sets when one token serves several requests.
func (c *checker) reuse(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset, out *claims.Profile) {
	base, own := preset.GetProfile().GetReuse(), p.GetReuse()
	mode := claims.Mode(base.GetMode())
	endless := !out.Expires() && out.MaxAge == 0
	if mode == "" {
		mode = claims.UntilRefresh
		if random(out.Rules) || random(out.Header) || endless {
			mode = claims.Never
		}
	}
	if own != nil {
		chosen := claims.Mode(own.GetMode())
		switch {
		case chosen == claims.Never && (mode != claims.Shared || preset.GetReuseIsOpen()):
		case chosen != mode && !preset.GetReuseIsOpen():
			c.add(at.With("mode"), "the preset %s takes %s", p.GetPreset(), orNever(mode))
			return
		case endless:
			if p.GetPreset() != "" { // without one the end is missing, which is said elsewhere
				c.add(at.With("mode"), "is %s, and this profile's tokens have no end; choose never", chosen)
			}
			return
		}
		mode = chosen
	}
	out.Reuse = claims.Reuse{Mode: mode}
	if mode != claims.Shared {
		for field, set := range sorted(map[string]bool{"min_age": own.GetMinAge() != nil, "grid": own.GetGrid() != nil}) {
			if set {
				c.add(at.With(field), "is for the mode shared")
			}
		}
		return
	}
	out.Reuse.MinAge = base.GetMinAge().AsDuration()
	if own.GetMinAge() != nil {
		if out.Reuse.MinAge > own.GetMinAge().AsDuration() {
			c.add(at.With("min_age"), "is under %s, the least that the preset %s takes", out.Reuse.MinAge, p.GetPreset())
		}
		out.Reuse.MinAge = own.GetMinAge().AsDuration()
	}
	out.Reuse.Grid = base.GetGrid().AsDuration()
	if own.GetGrid() != nil {
		out.Reuse.Grid = own.GetGrid().AsDuration()
	}
	c.workable(at, map[string]time.Duration{"min_age": out.Reuse.MinAge, "grid": out.Reuse.Grid})
	c.shared(at, out)
}

// shared refuses a shared token that could not be one for all, or that could
// not be made anew in time.
func (c *checker) shared(at strictyaml.Path, out *claims.Profile) {
	for name, rule := range sorted(out.Rules) {
		if rule.Caller != nil {
			c.add(at.With("mode"), "a shared token is one for all callers, and the claim %s is the caller's; fix it or forbid it", name)
		}
	}
	life, from := out.DefaultTTL, "default_ttl"
	if !out.Expires() {
		life, from = out.MaxAge-out.Backdate, "max_age"
	}
	for field, d := range sorted(map[string]time.Duration{"min_age": out.Reuse.MinAge, "grid": out.Reuse.Grid}) {
		if d > life/3*2 {
			c.add(at.With(field), "%s is over %s, two thirds of the life of a token; lower it, or raise %s", d, life/3*2, from)
		}
	}
	if out.Reuse.Grid > 0 && out.Reuse.Grid < out.Reuse.MinAge {
		c.add(at.With("grid"), "%s is under the min_age of %s; raise it, or set it to 0s", out.Reuse.Grid, out.Reuse.MinAge)
	}
}

// orNever names the modes that a preset leaves open.
func orNever(mode claims.Mode) string {
	if mode == claims.UntilRefresh {
		return "until_refresh or never"
	}
	return string(mode) + " alone"
}

// random says whether any of the rules gives another value each time.
func random(rules map[string]claims.Rule) bool {
	for _, rule := range rules {
		if rule.Random() {
			return true
		}
	}
	return false
}
