package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
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
		at := strictyaml.Path{"profiles", strictyaml.Key(name)}
		if _, ok := c.config.GetKeys()[p.GetKey()]; !ok {
			c.add(at.With("key"), "there is no key %q; there is %s", p.GetKey(), names(c.config.GetKeys()))
		}
		preset, ok := c.presets[p.GetPreset()]
		if !ok {
			c.add(at.With("preset"), "there is no preset %q; there is %s", p.GetPreset(), names(c.presets))
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

func (c *checker) typ(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset) string {
	typ := preset.GetTyp()
	if p.GetTyp() != "" {
		if !preset.GetOpen() && p.GetTyp() != typ {
			c.add(at.With("typ"), "the preset %s fixes typ to %q", p.GetPreset(), typ)
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

// times sets the lifetimes, which a profile may shorten and not lengthen.
func (c *checker) times(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset, out *claims.Profile) {
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
			c.add(at.With("max_ttl"), "is over %s, the most that the preset %s allows with a backdate of %s", most, p.GetPreset(), out.Backdate)
		}
	case preset.GetDefaultMaxTtl() != nil:
		out.MaxTTL = preset.GetDefaultMaxTtl().AsDuration()
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
	switch {
	case out.DefaultTTL <= limit:
	case limit == out.MaxTTL:
		c.add(at.With("default_ttl"), "is over the profile's max_ttl of %s; raise that, or lower this", limit)
	default:
		c.add(at.With("default_ttl"), "is over %s, which the preset %s allows only to a caller who asks for it", limit, p.GetPreset())
	}
	for field, d := range map[string]time.Duration{"default_ttl": out.DefaultTTL, "max_ttl": out.MaxTTL, "backdate": out.Backdate} {
		switch {
		case d > longest:
			c.add(at.With(field), "is over ten years (87600h)")
		case d%time.Second != 0:
			c.add(at.With(field), "%s is not a whole number of seconds", d)
		}
	}
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

// rules joins the rules of the preset and of the profile, which may only
// narrow the preset's.
func (c *checker) rules(at strictyaml.Path, p *configv1.Profile, preset *configv1.Preset) map[string]claims.Rule {
	rules := map[string]claims.Rule{}
	for name, rule := range sorted(preset.GetClaims()) {
		if rule.GetConfigured() == nil {
			rules[name] = c.rule(at, rule, "string")
		} else if p.GetClaims()[name] == nil {
			c.add(at.With("claims", strictyaml.Key(name)), "is missing; the preset %s needs `%s: {fixed: ...}` here", p.GetPreset(), name)
		}
	}
	lower := map[string]string{}
	for name := range preset.GetClaims() {
		lower[strings.ToLower(name)] = name
	}
	for name, own := range sorted(p.GetClaims()) {
		at := at.With("claims", strictyaml.Key(name))
		if err := claims.CheckName(name); err != nil {
			c.add(at, "%v", err)
			continue
		}
		// Go's encoding/json and others take one for the other.
		if other, ok := lower[strings.ToLower(name)]; ok && other != name {
			c.add(at, "differs from the claim %q in case alone; many readers take one for the other", other)
			continue
		}
		lower[strings.ToLower(name)] = name
		if own.GetConfigured() != nil {
			c.add(at.With("configured"), "a profile says fixed, computed or caller")
			continue
		}
		base, known := preset.GetClaims()[name]
		if !known && !preset.GetOpen() {
			c.add(at, "the preset %s has no claim %q; it has %s", p.GetPreset(), name, names(preset.GetClaims()))
			continue
		}
		before := len(c.problems)
		rule := c.narrow(at, own, base)
		if err := claims.CheckRule(name, rule); err != nil && len(c.problems) == before {
			c.add(at, "%v", err)
		}
		rules[name] = rule
	}
	return rules
}

// narrow returns the profile's own rule of a claim, held to the preset's.
func (c *checker) narrow(at strictyaml.Path, own, base *configv1.ClaimRule) claims.Rule {
	accepted := base.GetCaller()
	if accepted == nil {
		accepted = base.GetConfigured()
	}
	if accepted == nil {
		if base != nil {
			c.add(at, "the preset sets this claim itself; remove it here")
		}
		return c.rule(at, own, "string")
	}
	limit := c.callerRule(at, accepted, "string")
	rule := c.rule(at, own, limit.Type)
	switch {
	case rule.Fixed != nil:
		if err := limit.CheckValue(rule.Fixed); err != nil {
			if pattern := accepted.GetPattern(); pattern != "" {
				err = fmt.Errorf("%w; the preset's pattern is %s", err, pattern)
			}
			c.add(at.With("fixed"), "%v", err)
		}
	case base.GetCaller() == nil:
		c.add(at, "the preset takes only `fixed` here")
	case rule.Caller == nil:
		c.add(at, "the preset takes only `fixed` or `caller` here")
	default:
		if rule.Caller.Type != limit.Type && limit.Type != "string_or_list" {
			c.add(at.With("caller", "type"), "the preset takes %s here", limit.Type)
		}
		c.acceptable(at.With("caller", "one_of"), rule.Caller.OneOf, limit)
		rule.Caller.Required = rule.Caller.Required || limit.Required
		rule.Caller.Narrows = limit
	}
	return rule
}

// acceptable refuses the values of a one_of that a rule would refuse.
func (c *checker) acceptable(at strictyaml.Path, values []string, rule *claims.CallerRule) {
	each := *rule
	each.Type = "string"
	for i, v := range values {
		text, err := jsontext.AppendQuote(nil, v)
		if err == nil {
			err = each.CheckValue(text)
		}
		if err != nil {
			c.add(at.With(i), "%v, so no caller could ever send it", err)
		}
	}
}

// rule returns a rule as claims takes it. A caller's value without a type is of
// the type otherwise.
func (c *checker) rule(at strictyaml.Path, rule *configv1.ClaimRule, otherwise string) claims.Rule {
	switch {
	case rule.GetFixed() != nil:
		return claims.Rule{Fixed: c.fixed(at, rule.GetFixed())}
	case rule.GetCaller() != nil:
		return claims.Rule{Caller: c.callerRule(at.With("caller"), rule.GetCaller(), otherwise)}
	default:
		return claims.Rule{Computed: claims.Computed(rule.GetComputed())}
	}
}

// fixed writes a value as compact JSON in the canonical form of RFC 8785.
func (c *checker) fixed(at strictyaml.Path, v *structpb.Value) jsontext.Value {
	data, err := json.Marshal(v.AsInterface())
	value := jsontext.Value(data)
	if err == nil {
		err = value.Canonicalize()
	}
	if err != nil {
		c.add(at.With("fixed"), "is not JSON: %v", err)
		return jsontext.Value("null")
	}
	return value
}

// The defaults that config.proto promises for a caller's values.
const (
	defaultMaxLength = 1024
	defaultMaxItems  = 64
)

func (c *checker) callerRule(at strictyaml.Path, v *configv1.CallerValue, otherwise string) *claims.CallerRule {
	rule := &claims.CallerRule{
		Type:      orDefault(v.GetType(), otherwise),
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
			c.add(at.With("pattern"), "%v", err)
		}
		rule.Pattern = pattern
	}
	if v.Min != nil && v.Max != nil && v.GetMin() > v.GetMax() {
		c.add(at.With("min"), "%d is more than max, %d", v.GetMin(), v.GetMax())
	}
	// A condition of another type would never be asked.
	texts := rule.Type != "integer" && rule.Type != "boolean"
	lists := rule.Type == "string_list" || rule.Type == "string_or_list"
	for _, condition := range []struct {
		field    string
		set, fit bool
		types    string
	}{
		{"min", v.Min != nil, rule.Type == "integer", "integer"},
		{"max", v.Max != nil, rule.Type == "integer", "integer"},
		{"pattern", v.GetPattern() != "", texts, "string, string_list and string_or_list"},
		{"one_of", len(v.GetOneOf()) > 0, texts, "string, string_list and string_or_list"},
		{"max_length", v.GetMaxLength() != 0, texts, "string, string_list and string_or_list"},
		{"check", v.GetCheck() != "", texts, "string, string_list and string_or_list"},
		{"max_items", v.GetMaxItems() != 0, lists, "string_list and string_or_list"},
	} {
		if condition.set && !condition.fit {
			c.add(at.With(condition.field), "is for the type %s, and this is of type %s", condition.types, rule.Type)
		}
	}
	if texts {
		c.acceptable(at.With("one_of"), rule.OneOf, rule)
	}
	return rule
}

// signature is what a verifier tells tokens apart by.
type signature struct {
	profile  string
	preset   string
	typ      string // as mediaType returns it
	iss, aud []string
}

// sharedKeys refuses profiles that share a key where a verifier could take the
// token of one for the other's (RFC 8725 section 3.12), and a vendor's key
// that serves another family: vendors give a key for one service.
func (c *checker) sharedKeys() {
	users := map[string][]signature{} // by the name of the key
	for _, p := range c.config.ClaimProfiles {
		own := c.config.GetProfiles()[p.Name]
		second := signature{
			profile: p.Name,
			preset:  own.GetPreset(),
			typ:     mediaType(p.Typ),
			iss:     items(p.Rules["iss"].Fixed),
			aud:     items(p.Rules["aud"].Fixed),
		}
		at := strictyaml.Path{"profiles", strictyaml.Key(p.Name), "key"}
		for _, first := range users[p.Key] {
			if first.preset != second.preset {
				c.add(at, "profile %q of the preset %s uses this key too; a key serves one kind of consumer, so give each its own", first.profile, first.preset)
				break
			}
			if confusable(first, second) && !permits(own, first.profile) && !permits(c.config.GetProfiles()[first.profile], p.Name) {
				c.add(at, "profile %q uses this key too and has the same typ, iss and aud, so a verifier could take the token of one for the other's; give each its own key or aud, or say `shares_key_with: [%s]`", first.profile, first.profile)
			}
		}
		users[p.Key] = append(users[p.Key], second)
	}
}

// sharesKnown refuses names in shares_key_with that permit nothing.
func (c *checker) sharesKnown() {
	for name, p := range sorted(c.config.GetProfiles()) {
		for i, other := range p.GetSharesKeyWith() {
			at := strictyaml.Path{"profiles", strictyaml.Key(name), "shares_key_with", i}
			switch q, ok := c.config.GetProfiles()[other]; {
			case !ok:
				c.add(at, "there is no profile %q; there is %s", other, names(c.config.GetProfiles()))
			case other == name:
				c.add(at, "is this profile itself; name others")
			case p.GetKey() != q.GetKey():
				c.add(at, "profile %q uses another key, %q; remove it here", other, q.GetKey())
			}
		}
	}
}

func permits(p *configv1.Profile, other string) bool {
	return slices.Contains(p.GetSharesKeyWith(), other)
}

// confusable says whether two profiles can emit the same typ, iss and aud. A
// claim that is not fixed can be anything.
func confusable(a, b signature) bool {
	return a.typ == b.typ && overlap(a.iss, b.iss) && overlap(a.aud, b.aud)
}

// mediaType returns a typ as verifiers compare it, without case and the prefix
// application/ (RFC 7515 section 4.1.9). A token without typ is as good as a
// plain JWT to a verifier that looks at typ only where it has to.
func mediaType(typ string) string {
	if typ == "" {
		return "jwt"
	}
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// overlap says whether two fixed claims have a value in common.
func overlap(a, b []string) bool {
	return a == nil || b == nil || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// items returns the strings of a fixed value, which for iss and aud is a string
// or a list of them; nil where it is not fixed.
func items(v jsontext.Value) []string {
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(v, &list) == nil {
		return list
	}
	return nil
}
