package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// ruleJoiner joins the rules of one profile with its preset's, which the
// profile may only narrow.
type ruleJoiner struct {
	*checker
	preset     *configv1.Preset
	presetName string
	key        *configv1.Key // nil where it is missing, which has been said
}

// claims returns the rule of each claim.
func (j ruleJoiner) claims(at strictyaml.Path, p *configv1.Profile) map[string]claims.Rule {
	base, unknown := j.base(at, p)
	rules := map[string]claims.Rule{}
	templates := map[string]string{}
	for name, rule := range sorted(base) {
		switch {
		case rule.GetTemplate() != "":
			templates[name] = rule.GetTemplate()
			rules[name] = claims.Rule{Doc: rule.GetDoc()}
		case rule.GetConfigured() == nil:
			rules[name] = j.rule(at.With(strictyaml.Key(name)), rule, "string")
		case p.GetClaims()[name] == nil:
			j.add(at.With(strictyaml.Key(name)), "is missing; the preset %s needs `%s: {fixed: ...}` here", j.presetName, name)
		}
	}
	lower := map[string]string{}
	for name := range base {
		lower[strings.ToLower(name)] = name
	}
	for name, own := range sorted(p.GetClaims()) {
		at := at.With(strictyaml.Key(name))
		if err := claims.CheckName(name); err != nil {
			j.add(at, "%v", err)
			continue
		}
		// Go's encoding/json and others take one for the other.
		if other, ok := lower[strings.ToLower(name)]; ok && other != name {
			j.add(at, "differs from the claim %q in case alone; many readers take one for the other", other)
			continue
		}
		lower[strings.ToLower(name)] = name
		if own.GetConfigured() != nil {
			j.add(at.With("configured"), "a profile says fixed, computed, caller, template or forbidden")
			continue
		}
		if name == unknown {
			continue
		}
		if _, known := base[name]; !known && !j.preset.GetOpen() {
			j.add(at, "the preset %s has no claim %q; it has %s", j.presetName, name, names(base))
			continue
		}
		before := len(j.problems)
		rule := j.narrow(at, own, base[name])
		if own.GetTemplate() != "" {
			templates[name] = own.GetTemplate()
		} else if err := claims.CheckRule(name, rule); err != nil && len(j.problems) == before {
			j.add(at, "%v", err)
		}
		rules[name] = rule
	}
	j.fill(at, rules, templates, maps.Clone(rules), claims.CheckRule)
	return rules
}

// base returns the preset's rules, with those that hang on the value that the
// profile gives to the claim of the preset's variants. Where it is none of
// those, that is said and the claim's name returned.
func (j ruleJoiner) base(at strictyaml.Path, p *configv1.Profile) (base map[string]*configv1.ClaimRule, unknown string) {
	base = j.preset.GetProfile().GetClaims()
	variants := j.preset.GetVariants()
	if variants == nil {
		return base, ""
	}
	chosen := p.GetClaims()[variants.GetClaim()].GetFixed().GetStringValue()
	more, ok := variants.GetValues()[chosen]
	if !ok {
		base = maps.Clone(base)
		for _, more := range sorted(variants.GetValues()) { // any of which the profile may have meant
			maps.Copy(base, more.GetClaims())
		}
		if chosen == "" {
			return base, ""
		}
		j.add(at.With(strictyaml.Key(variants.GetClaim()), "fixed"), "%q is no %s of the preset %s; there is %s", chosen, variants.GetClaim(), j.presetName, names(variants.GetValues()))
		return base, variants.GetClaim()
	}
	joined := maps.Clone(base)
	maps.Copy(joined, more.GetClaims())
	return joined, ""
}

// header returns the rule of each header parameter beside alg, kid and typ.
func (j ruleJoiner) header(at strictyaml.Path, p *configv1.Profile, rules map[string]claims.Rule) map[string]claims.Rule {
	header := map[string]claims.Rule{}
	templates := map[string]string{}
	join := func(all map[string]*configv1.ClaimRule) {
		for name, rule := range sorted(all) {
			at := at.With(strictyaml.Key(name))
			if _, twice := header[name]; twice {
				j.add(at, "the preset sets this parameter itself; remove it here")
				continue
			}
			if rule.GetTemplate() != "" {
				templates[name] = rule.GetTemplate()
				header[name] = claims.Rule{Fixed: jsontext.Value(`"template"`), Doc: rule.GetDoc()}
			} else {
				header[name] = j.rule(at, rule, "string")
			}
			if err := claims.CheckHeader(name, header[name]); err != nil {
				j.add(at, "%v", err)
			}
		}
	}
	join(j.preset.GetProfile().GetHeader())
	if len(p.GetHeader()) > 0 && !j.preset.GetOpen() {
		j.add(at, "the preset %s has a header of its own; remove this", j.presetName)
		return header
	}
	join(p.GetHeader())
	j.fill(at, header, templates, rules, claims.CheckHeader)
	return header
}

// placeholder is what a template names in braces.
var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// fill turns templates into fixed values, from what claims fix.
func (j ruleJoiner) fill(at strictyaml.Path, into map[string]claims.Rule, templates map[string]string, from map[string]claims.Rule, check func(string, claims.Rule) error) {
	for name, template := range sorted(templates) {
		at, before := at.With(strictyaml.Key(name)), len(j.problems)
		whole := true
		text := placeholder.ReplaceAllStringFunc(template, func(found string) string {
			value, ok := j.filling(at, found[1:len(found)-1], from)
			whole = whole && ok
			return value
		})
		if strings.ContainsAny(placeholder.ReplaceAllLiteralString(template, ""), "{}") {
			j.add(at, "a brace of the template has no partner")
		}
		rule := into[name]
		quoted, err := jsontext.AppendQuote(nil, text)
		if rule.Fixed = quoted; err == nil && whole && len(j.problems) == before {
			err = check(name, rule)
		}
		if err != nil {
			j.add(at, "%v", err)
		}
		into[name] = rule
	}
}

// filling returns what stands for a name in a template.
func (j ruleJoiner) filling(at strictyaml.Path, name string, from map[string]claims.Rule) (value string, ok bool) {
	if name == "kid" {
		switch {
		case len(j.key.GetVersions()) > 0:
			j.add(at, "the template names kid, which is another for each version of the profile's key; give the profile a key without versions")
		case j.key != nil && j.key.Kid == nil && !j.preset.GetConsumerGivesKid(): // where it does, it has been said
			j.add(at, "the template names kid, and the profile's key has none in the configuration; add `kid: ...` to the key")
		}
		return j.key.GetKid(), j.key.GetKid() != ""
	}
	fixed := from[name].Fixed
	if fixed.Kind() == '"' {
		return items(fixed)[0], true
	}
	said := fixed == nil && j.preset.GetProfile().GetClaims()[name].GetConfigured() != nil // that it is missing
	if !said {
		j.add(at, "the template names %q; it can name kid, and claims that the profile fixes to a string with `fixed`", name)
	}
	return "", false
}

// narrow returns the profile's own rule of a claim, held to the preset's.
func (j ruleJoiner) narrow(at strictyaml.Path, own, base *configv1.ClaimRule) claims.Rule {
	accepted := base.GetCaller()
	if accepted == nil {
		accepted = base.GetConfigured()
	}
	if accepted == nil {
		if base != nil {
			j.add(at, "the preset sets this claim itself; remove it here")
		}
		return j.rule(at, own, "string")
	}
	limit := j.callerRule(at, accepted, "string")
	rule := j.rule(at, own, limit.Type)
	rule.Doc = orDefault(rule.Doc, base.GetDoc())
	switch {
	case rule.Fixed != nil:
		if err := limit.CheckValue(rule.Fixed); err != nil {
			if pattern := accepted.GetPattern(); pattern != "" {
				err = fmt.Errorf("%w; the preset's pattern is %s", err, pattern)
			} else if values := accepted.GetOneOf(); len(values) > 0 {
				err = fmt.Errorf("%w; the preset takes one of %s", err, strings.Join(values, ", "))
			}
			j.add(at.With("fixed"), "%v", err)
		}
	case base.GetCaller() == nil:
		j.add(at, "the preset takes only `fixed` here")
	case rule.Forbidden && limit.Required:
		j.add(at, "the preset requires this claim")
	case rule.Forbidden:
	case rule.Caller == nil:
		j.add(at, "the preset takes only `fixed`, `caller` or `forbidden` here")
	default:
		either := limit.Type == "string_or_list" && (rule.Caller.Type == "string" || rule.Caller.Type == "string_list")
		if rule.Caller.Type != limit.Type && !either {
			j.add(at.With("caller", "type"), "the preset takes %s here", limit.Type)
		}
		j.acceptable(at.With("caller", "one_of"), rule.Caller.OneOf, limit)
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
	out := claims.Rule{Doc: rule.GetDoc(), Forbidden: rule.GetForbidden(), Computed: claims.Computed(rule.GetComputed())}
	switch {
	case rule.GetFixed() != nil:
		out.Fixed = c.fixed(at, rule.GetFixed())
	case rule.GetCaller() != nil:
		out.Caller = c.callerRule(at.With("caller"), rule.GetCaller(), otherwise)
	}
	return out
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
