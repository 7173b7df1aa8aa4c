package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// Description is a preset in words.
type Description struct {
	Name        string
	Description string
	Sources     []string          // the consumer's documents
	Decisions   []claims.Decision // the header's first, then the claims', by name
	Limits      []string          // of a profile that sets none of its own, then what one may change
	Example     string            // the least profile that starts from it, as YAML
}

// exampleProfile and exampleKey are the names in the example.
const (
	exampleProfile = "my-profile"
	exampleKey     = "my-key"
)

// exampleValues are tried in turn for a claim that a profile must fix.
func exampleValues() []string {
	return []string{"https://example.org", "com.example.app", "A1B2C3D4E5", "57246542-96fe-1a63-e053-0824d011072a"}
}

// Describe says in words what the preset of a name demands.
func Describe(name string) (Description, error) {
	presets, err := Presets()
	if err != nil {
		return Description{}, err
	}
	preset, ok := presets[name]
	if !ok {
		return Description{}, fmt.Errorf("there is no preset %q", name)
	}
	// What a profile of its own adds is missing, so the checker has problems
	// that are of no interest here.
	c := &checker{config: &Config{Config: &configv1.Config{}}, presets: presets}
	own := &configv1.Profile{Preset: name}
	profile := c.profile(strictyaml.Path{}, "", own, preset)
	return Description{
		Name:        name,
		Description: preset.GetProfile().GetDescription(),
		Sources:     preset.GetSources(),
		Decisions:   c.decisions(&profile, preset),
		Limits:      append(profile.Limits(), liberties(&profile, preset)...),
		Example:     c.example(name, preset),
	}, nil
}

// decisions are those of the profile, and of the rules of the preset that only
// a profile of its own makes whole.
func (c *checker) decisions(profile *claims.Profile, preset *configv1.Preset) []claims.Decision {
	rules, fixed, templates := map[string]claims.Rule{}, map[string]claims.Rule{}, map[string]string{}
	for name, rule := range preset.GetProfile().GetClaims() {
		rules[name] = profile.Rules[name]
		if configured := c.configured(rule); configured != nil {
			rules[name] = claims.Rule{Caller: configured, Doc: rule.GetDoc()}
			fixed[name] = rules[name]
		}
		templates[name] = rule.GetTemplate()
	}
	for name, rule := range preset.GetProfile().GetHeader() {
		templates["header."+name] = rule.GetTemplate()
	}
	whole := *profile
	whole.Rules = rules
	decisions := whole.Decisions()
	for i, d := range decisions {
		if rule, ok := fixed[d.Name]; ok {
			words := strings.Replace(rule.Caller.Words(), ", required", "", 1) // fixed says as much
			decisions[i].Rule = "fixed by the profile: " + words
		}
		if templates[d.Name] != "" {
			decisions[i].Rule = "put together as " + templates[d.Name]
		}
	}
	for value, more := range sorted(preset.GetVariants().GetValues()) {
		variant := claims.Profile{Rules: map[string]claims.Rule{}}
		for name, rule := range more.GetClaims() {
			variant.Rules[name] = c.rule(strictyaml.Path{}, rule, "string")
		}
		for _, d := range variant.Decisions() {
			if !strings.HasPrefix(d.Name, "header.") {
				d.Rule = fmt.Sprintf("where %s is %s: %s", preset.GetVariants().GetClaim(), value, d.Rule)
				d.Present = false // not of every token of the preset
				decisions = append(decisions, d)
			}
		}
	}
	return decisions
}

// configured returns the rule of what a profile must fix, nil for other rules.
func (c *checker) configured(rule *configv1.ClaimRule) *claims.CallerRule {
	if rule.GetConfigured() == nil {
		return nil
	}
	out := c.callerRule(strictyaml.Path{}, rule.GetConfigured(), "string")
	out.Required = true
	return out
}

// liberties says what a profile may change, one fact each.
func liberties(profile *claims.Profile, preset *configv1.Preset) []string {
	var facts []string
	base := preset.GetProfile()
	most := longest
	if limit := base.GetMaxTtl().AsDuration(); limit > 0 {
		most = limit
	}
	if profile.MaxLifetime > 0 {
		most = min(most, profile.MaxLifetime-profile.Backdate)
	}
	if profile.LongLived != nil {
		most = profile.LongLived.MaxLifetime - profile.Backdate
	}
	if profile.Expires() && most > profile.MaxTTL {
		fact := fmt.Sprintf("a profile may raise max_ttl, to %s at most", claims.Span(most))
		if most == longest {
			fact = "a profile may raise max_ttl"
		}
		if profile.LongLived != nil {
			fact += ", " + profile.LongLived.Words()
		}
		facts = append(facts, fact)
	}
	if preset.GetReuseIsOpen() {
		facts = append(facts, "a profile may choose any reuse")
	} else if profile.Mode() == claims.UntilRefresh {
		facts = append(facts, "a profile may choose `reuse: {mode: never}`, and no other reuse")
	}
	if preset.GetOpen() {
		facts = append(facts, "a profile may set typ, and add claims and header parameters")
	} else {
		facts = append(facts, "a profile adds no claims and no header parameters")
	}
	if profile.AnswerPublicKey {
		facts = append(facts, "the answer carries the public key, as public_key")
	}
	return facts
}

// example writes the least profile of a preset, with each claim that it has to
// fix. Its values are accepted, and nobody's.
func (c *checker) example(name string, preset *configv1.Preset) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "profiles:\n  %s:\n    preset: %s\n    key: %s\n", exampleProfile, name, exampleKey)
	title := "    claims:\n"
	for name, rule := range sorted(preset.GetProfile().GetClaims()) {
		if configured := c.configured(rule); configured != nil {
			_, _ = fmt.Fprintf(&b, "%s      %s: {fixed: %q}\n", title, name, exampleOf(configured))
			title = ""
		}
	}
	return b.String()
}

// exampleOf returns a value that the rule accepts, or "..." where none of the
// examples does.
func exampleOf(rule *claims.CallerRule) string {
	for _, value := range slices.Concat(rule.OneOf, exampleValues()) {
		if quoted, err := jsontext.AppendQuote(nil, value); err == nil && rule.CheckValue(quoted) == nil {
			return value
		}
	}
	return "..."
}
