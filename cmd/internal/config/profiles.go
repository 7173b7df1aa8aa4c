package config

import (
	"embed"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

//go:embed presets
var presetFiles embed.FS

// loadPresets reads the presets that are part of the program, by name.
func loadPresets() (map[string]*configv1.Preset, error) {
	presets := map[string]*configv1.Preset{}
	err := fs.WalkDir(presetFiles, "presets", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := presetFiles.ReadFile(file)
		if err != nil {
			return err
		}
		preset := &configv1.Preset{}
		if err := decode(file, data, preset, nil); err != nil {
			return err
		}
		presets[strings.TrimSuffix(strings.TrimPrefix(file, "presets/"), ".yaml")] = preset
		return nil
	})
	return presets, err
}

// profiles turns each profile, on top of its preset, into what claims takes.
func (c *checker) profiles() {
	for name, p := range sorted(c.config.GetProfiles()) {
		at := path{"profiles", key(name)}
		if _, ok := c.config.GetKeys()[p.GetKey()]; !ok {
			c.add(at.with("key"), "known_key", "there is no key %q; there is %s", p.GetKey(), names(c.config.GetKeys()))
		}
		preset, ok := c.presets[p.GetPreset()]
		if !ok {
			c.add(at.with("preset"), "known_preset", "there is no preset %q; there is %s", p.GetPreset(), names(c.presets))
			continue
		}
		c.config.ClaimProfiles = append(c.config.ClaimProfiles, claims.Profile{
			Name:        name,
			Key:         p.GetKey(),
			Typ:         c.typ(at, p, preset),
			Rules:       c.rules(at, p, preset),
			MaxLifetime: preset.GetMaxLifetime().AsDuration(),
			LongLived:   longLived(preset),
		})
		c.times(at, p, preset, &c.config.ClaimProfiles[len(c.config.ClaimProfiles)-1])
	}
}

func (c *checker) typ(at path, p *configv1.Profile, preset *configv1.Preset) string {
	typ := preset.GetTyp()
	if p.GetTyp() != "" {
		if !preset.GetOpen() && p.GetTyp() != typ {
			c.add(at.with("typ"), "closed", "the preset %s fixes typ to %q", p.GetPreset(), typ)
		}
		typ = p.GetTyp()
	}
	if strings.ContainsAny(typ, `"\`) {
		c.add(at.with("typ"), "typ", "a media type has neither quotes nor backslashes")
	}
	if typ == "none" {
		return ""
	}
	return typ
}

// times sets the lifetimes, which a profile may shorten and not lengthen.
func (c *checker) times(at path, p *configv1.Profile, preset *configv1.Preset, out *claims.Profile) {
	out.Backdate = preset.GetBackdate().AsDuration()
	if p.GetBackdate() != nil {
		out.Backdate = p.GetBackdate().AsDuration()
	}
	out.DefaultTTL = preset.GetDefaultTtl().AsDuration()
	if p.GetDefaultTtl() != nil {
		out.DefaultTTL = p.GetDefaultTtl().AsDuration()
	}

	ordinary := out.MaxLifetime - out.Backdate // exp - now; negative without a limit
	most := ordinary
	if out.LongLived != nil {
		most = out.LongLived.MaxLifetime - out.Backdate
	}
	switch {
	case p.GetMaxTtl() != nil:
		out.MaxTTL = p.GetMaxTtl().AsDuration()
		if out.MaxLifetime > 0 && out.MaxTTL > most {
			c.add(at.with("max_ttl"), "max_lifetime", "is over %s, the most that the preset %s allows with a backdate of %s", most, p.GetPreset(), out.Backdate)
		}
	case preset.GetDefaultMaxTtl() != nil:
		out.MaxTTL = max(preset.GetDefaultMaxTtl().AsDuration(), out.DefaultTTL)
	default:
		out.MaxTTL = ordinary
	}

	if out.DefaultTTL > out.MaxTTL && p.GetDefaultTtl() == nil {
		out.DefaultTTL = out.MaxTTL // a lowered limit lowers the preset's default with it
	}
	limit := out.MaxTTL
	if out.MaxLifetime > 0 {
		limit = min(limit, ordinary) // a token is long-lived only when it is asked to be
	}
	if out.DefaultTTL > limit {
		c.add(at.with("default_ttl"), "max_ttl", "is over the limit of %s", limit)
	}
	for field, d := range map[string]time.Duration{"default_ttl": out.DefaultTTL, "max_ttl": out.MaxTTL, "backdate": out.Backdate} {
		if d%time.Second != 0 {
			c.add(at.with(field), "whole_seconds", "%s is not a whole number of seconds", d)
		}
	}
}

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

// rules joins the rules of the preset and of the profile, which may only
// narrow the preset's.
func (c *checker) rules(at path, p *configv1.Profile, preset *configv1.Preset) map[string]claims.Rule {
	rules := map[string]claims.Rule{}
	for name, rule := range sorted(preset.GetClaims()) {
		if rule.GetConfigured() == nil {
			rules[name] = c.rule(at, rule)
		} else if p.GetClaims()[name] == nil {
			c.add(at.with("claims"), "required", "the preset %s needs `%s: {fixed: ...}` here", p.GetPreset(), name)
		}
	}
	for name, own := range sorted(p.GetClaims()) {
		at := at.with("claims", key(name))
		if err := claims.CheckName(name); err != nil {
			c.add(at, "claim_name", "%v", err)
			continue
		}
		if own.GetConfigured() != nil {
			c.add(at.with("configured"), "preset_only", "a profile says fixed, computed or caller")
			continue
		}
		base, known := preset.GetClaims()[name]
		if !known && !preset.GetOpen() {
			c.add(at, "closed", "the preset %s has no claim %q; it has %s", p.GetPreset(), name, names(preset.GetClaims()))
			continue
		}
		rules[name] = c.narrow(at, own, base)
	}
	return rules
}

// narrow returns the profile's own rule of a claim, held to the preset's.
func (c *checker) narrow(at path, own, base *configv1.ClaimRule) claims.Rule {
	rule := c.rule(at, own)
	switch {
	case base.GetSource() == nil:
	case base.GetConfigured() != nil || base.GetCaller() != nil:
		accepted := base.GetConfigured()
		if accepted == nil {
			accepted = base.GetCaller()
		}
		limit := c.callerRule(at, accepted)
		switch {
		case rule.Fixed != nil:
			if err := limit.CheckValue(rule.Fixed); err != nil {
				c.add(at.with("fixed"), "preset", "%v", err)
			}
		case rule.Caller != nil && base.GetCaller() != nil:
			if own.GetCaller().GetType() == "" {
				rule.Caller.Type = limit.Type
			}
			rule.Caller.Required = rule.Caller.Required || limit.Required
			rule.Caller.Narrows = limit
		default:
			c.add(at, "preset", "the preset takes only a fixed value here")
		}
	default:
		c.add(at, "preset", "the preset sets this claim itself")
	}
	return rule
}

func (c *checker) rule(at path, rule *configv1.ClaimRule) claims.Rule {
	switch {
	case rule.GetFixed() != nil:
		return claims.Rule{Fixed: c.fixed(at, rule.GetFixed())}
	case rule.GetCaller() != nil:
		return claims.Rule{Caller: c.callerRule(at.with("caller"), rule.GetCaller())}
	default:
		return claims.Rule{Computed: claims.Computed(rule.GetComputed())}
	}
}

// fixed writes a value as compact JSON in the canonical form of RFC 8785.
func (c *checker) fixed(at path, v *structpb.Value) jsontext.Value {
	data, err := json.Marshal(v.AsInterface())
	value := jsontext.Value(data)
	if err == nil {
		err = value.Canonicalize()
	}
	if err != nil {
		c.add(at.with("fixed"), "json", "is not JSON: %v", err)
		return jsontext.Value("null")
	}
	return value
}

// The defaults that config.proto promises for a caller's values.
const (
	defaultMaxLength = 1024
	defaultMaxItems  = 64
)

func (c *checker) callerRule(at path, v *configv1.CallerValue) *claims.CallerRule {
	rule := &claims.CallerRule{
		Type:      orDefault(v.GetType(), "string"),
		Required:  v.GetRequired(),
		OneOf:     v.GetOneOf(),
		Min:       v.Min,
		Max:       v.Max,
		MaxLength: int(orDefault(v.GetMaxLength(), defaultMaxLength)),
		MaxItems:  int(orDefault(v.GetMaxItems(), defaultMaxItems)),
		Check:     v.GetCheck(),
	}
	if v.GetPattern() != "" {
		pattern, err := claims.CompilePattern(v.GetPattern())
		if err != nil {
			c.add(at.with("pattern"), "re2", "%v", err)
		}
		rule.Pattern = pattern
	}
	if v.Min != nil && v.Max != nil && v.GetMin() > v.GetMax() {
		c.add(at.with("min"), "range", "%d is more than max, %d", v.GetMin(), v.GetMax())
	}
	if (v.Min != nil || v.Max != nil) && rule.Type != "integer" {
		c.add(at, "type", "min and max are for type integer")
	}
	if (v.GetPattern() != "" || len(v.GetOneOf()) > 0) && (rule.Type == "integer" || rule.Type == "boolean") {
		c.add(at, "type", "pattern and one_of are for strings and lists")
	}
	return rule
}

// sharedKeys refuses profiles that share a key where a verifier could take the
// token of one for the other's (RFC 8725 section 3.12), and a vendor's key
// that serves another family: vendors give a key for one service.
func (c *checker) sharedKeys() {
	all := c.config.ClaimProfiles
	for i := range all {
		for j := range all[:i] {
			first, second := all[j], all[i]
			if first.Key != second.Key {
				continue
			}
			p, q := c.config.GetProfiles()[first.Name], c.config.GetProfiles()[second.Name]
			at := path{"profiles", key(second.Name), "key"}
			if p.GetPreset() != q.GetPreset() {
				c.add(at, "one_family", "profile %q of the preset %s uses this key too; a key serves one kind of consumer, so give each its own", first.Name, p.GetPreset())
				continue
			}
			if confusable(first, second) && !permits(p, second.Name) && !permits(q, first.Name) {
				c.add(at, "confusable", "profile %q uses this key too and has the same typ, iss and aud, so a verifier could take the token of one for the other's; give each its own key or aud, or say `shares_key_with: [%s]`", first.Name, first.Name)
			}
		}
	}
}

func permits(p *configv1.Profile, other string) bool {
	return slices.Contains(p.GetSharesKeyWith(), other)
}

// confusable says whether two profiles can emit the same typ, iss and aud. A
// claim that a caller sets can be anything.
func confusable(a, b claims.Profile) bool {
	if a.Typ != b.Typ {
		return false
	}
	for _, name := range []string{"iss", "aud"} {
		x, y := a.Rules[name], b.Rules[name]
		if x.Fixed != nil && y.Fixed != nil && !overlap(x.Fixed, y.Fixed) {
			return false
		}
	}
	return true
}

// overlap says whether two fixed values, each a string or a list of them, have
// one in common.
func overlap(a, b jsontext.Value) bool {
	for _, x := range items(a) {
		for _, y := range items(b) {
			if x == y {
				return true
			}
		}
	}
	return false
}

func items(v jsontext.Value) []string {
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(v, &list) == nil {
		return list
	}
	return nil // the preset accepts nothing else for iss and aud
}
