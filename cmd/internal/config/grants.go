package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
)

// grants turns each grant into what policy and claims take.
func (c *checker) grants() {
	seen := map[string]bool{}
	profiles := c.config.profiles()
	var conditions *policy.Compiler // made where a grant has one
	for i, g := range c.config.GetGrants() {
		at := strictyaml.Path{"grants", i}
		if seen[g.GetName()] {
			c.add(at.With("name"), "two grants are named %q; a log could not tell them apart", g.GetName())
		}
		seen[g.GetName()] = true
		rule := policy.Rule{Name: g.GetName(), Profiles: g.GetProfiles(), Quota: quotaOf(g.GetQuota())}
		var granted []*claims.Profile
		for j, profile := range g.GetProfiles() {
			if _, ok := c.config.GetProfiles()[profile]; !ok {
				c.add(at.With("profiles", j), "there is no profile %q; there is %s", profile, names(c.config.GetProfiles()))
			} else if p := profiles[profile]; p != nil {
				granted = append(granted, p)
			}
		}
		for j, m := range g.GetCallers() {
			c.san(at.With("callers", j, "mtls"), m.GetMtls())
			rule.Callers = append(rule.Callers, c.match(at.With("callers", j), m))
		}
		if g.GetWhen() != "" {
			rule.When = c.when(at.With("when"), g.GetWhen(), &conditions)
		}
		if len(g.GetClaims()) > 0 || g.GetMaxTtl() != nil {
			rule.Narrowed = true
			c.narrowing(at, g, granted)
		}
		c.config.PolicyRules = append(c.config.PolicyRules, rule)
	}
}

// profiles returns the profiles by name.
func (c *Config) profiles() map[string]*claims.Profile {
	profiles := map[string]*claims.Profile{}
	for i := range c.ClaimProfiles {
		profiles[c.ClaimProfiles[i].Name] = &c.ClaimProfiles[i]
	}
	return profiles
}

// Narrowings returns what the grants hold their profiles to, for each grant
// whose rule is Narrowed.
func (c *Config) Narrowings() []claims.Narrowing {
	check := &checker{config: c} // which has passed them all
	profiles := c.profiles()
	var narrowings []claims.Narrowing
	for i, rule := range c.PolicyRules {
		if !rule.Narrowed {
			continue
		}
		var granted []*claims.Profile
		for _, name := range rule.Profiles {
			granted = append(granted, profiles[name])
		}
		narrowings = append(narrowings, check.narrowing(strictyaml.Path{"grants", i}, c.GetGrants()[i], granted))
	}
	return narrowings
}

// quotaOf returns a quota with its default.
func quotaOf(q *configv1.Quota) policy.Quota {
	if q == nil {
		return policy.Quota{}
	}
	const sixth = 6 // ten seconds' worth
	return policy.Quota{
		PerMinute: int(q.GetPerMinute()),
		Burst:     int(orDefault(q.GetBurst(), max(1, q.GetPerMinute()/sixth))),
	}
}

// when compiles a condition. Its faults say where in the field they are.
func (c *checker) when(at strictyaml.Path, text string, conditions **policy.Compiler) *policy.Condition {
	if *conditions == nil {
		compiler, err := policy.NewCompiler()
		if err != nil {
			c.add(at, "%v", err)
			return nil
		}
		*conditions = compiler
	}
	condition, err := (*conditions).Compile(text)
	if err != nil {
		for fault := range strings.SplitSeq(err.Error(), "\n") {
			c.add(at, "%s", fault)
		}
	}
	return condition
}

// narrowing returns what a grant holds its profiles to.
func (c *checker) narrowing(at strictyaml.Path, g *configv1.Grant, granted []*claims.Profile) claims.Narrowing {
	out := claims.Narrowing{Rule: g.GetName(), Claims: map[string]*claims.CallerRule{}}
	for name, v := range sorted(g.GetClaims()) {
		at := at.With("claims", strictyaml.Key(name))
		kinds, ok := c.narrowable(at, name, granted)
		if !ok {
			continue
		}
		otherwise := kinds[0]
		if len(kinds) > 1 {
			otherwise = "string_or_list"
		}
		rule := c.callerRule(at, unlimited(v, otherwise), otherwise)
		before := len(c.problems)
		for _, kind := range kinds {
			if !fits(rule.Type, kind) {
				c.add(at, "is of type %s in a profile of this grant, and here of type %s", kind, rule.Type)
			}
		}
		if len(c.problems) == before {
			c.fixedPass(at, name, rule, granted)
		}
		out.Claims[name] = rule
	}
	if g.GetMaxTtl() != nil {
		out.MaxTTL = c.grantTTL(at.With("max_ttl"), g.GetMaxTtl(), granted)
	}
	return out
}

// narrowable returns the types that a claim has in the profiles of a grant, or
// says which of them does not have it in a way that can be narrowed.
func (c *checker) narrowable(at strictyaml.Path, name string, granted []*claims.Profile) (kinds []string, ok bool) {
	all := map[string]bool{}
	ok = len(granted) > 0
	for _, p := range granted {
		switch rule, has := p.Rules[name]; {
		case !has:
			c.add(at, "the profile %s has no such claim; give it a grant of its own", p.Name)
			ok = false
		case rule.Caller != nil:
			all[rule.Caller.Type] = true
		case rule.Fixed.Kind() == '"':
			all["string"] = true
		case rule.Fixed.Kind() == '[':
			all["string_list"] = true
		case rule.Fixed.Kind() == '0':
			all["integer"] = true
		case rule.Fixed.Kind() == 't', rule.Fixed.Kind() == 'f':
			all["boolean"] = true
		default:
			c.add(at, "the profile %s neither takes this claim from callers nor fixes it to a value that can be compared; give it a grant of its own", p.Name)
			ok = false
		}
	}
	return slices.Sorted(maps.Keys(all)), ok
}

// fits says whether a condition of one type can be asked of a claim of another.
func fits(condition, claim string) bool {
	text := func(kind string) bool { return kind == "string" || kind == "string_list" }
	return condition == claim ||
		condition == "string_or_list" && text(claim) || claim == "string_or_list" && text(condition)
}

// unlimited is a condition whose limits, where it sets none, are no less than
// any profile's.
func unlimited(v *configv1.CallerValue, otherwise string) *configv1.CallerValue {
	kind := orDefault(v.GetType(), otherwise)
	if kind == "integer" || kind == "boolean" {
		return v
	}
	out, ok := proto.Clone(v).(*configv1.CallerValue)
	if !ok {
		return v // a clone is of the same type
	}
	out.MaxLength = orDefault(out.GetMaxLength(), claims.MaxBytes)
	if kind != "string" {
		out.MaxItems = orDefault(out.GetMaxItems(), claims.MaxItems)
	}
	return out
}

// fixedPass refuses a grant for a profile whose fixed value it would refuse
// each time.
func (c *checker) fixedPass(at strictyaml.Path, name string, rule *claims.CallerRule, granted []*claims.Profile) {
	for _, p := range granted {
		if fixed := p.Rules[name].Fixed; fixed != nil {
			if err := rule.CheckValue(fixed); err != nil {
				why := strings.ReplaceAll(err.Error(), "the profile", "the grant")
				c.add(at, "the profile %s fixes this claim to %s, which %s", p.Name, shortened(fixed), why)
			}
		}
	}
}

func shortened(v jsontext.Value) string {
	const most = 80
	if len(v) > most {
		return strings.ToValidUTF8(string(v[:most]), "") + "..."
	}
	return string(v)
}

// grantTTL returns a grant's limit of the ttl, which says less than each of its
// profiles.
func (c *checker) grantTTL(at strictyaml.Path, d *durationpb.Duration, granted []*claims.Profile) time.Duration {
	ttl := d.AsDuration()
	if ttl%time.Second != 0 {
		c.add(at, "is not a whole number of seconds")
	}
	for _, p := range granted {
		switch {
		case !p.Expires():
			c.add(at, "tokens of the profile %s have no exp; give it a grant of its own", p.Name)
		case p.Mode() == claims.Shared:
			c.add(at, "the token of the profile %s is shared by all callers; give it a grant of its own", p.Name)
		case ttl >= p.MaxTTL:
			c.add(at, "is not less than the max_ttl of the profile %s, %s; remove it", p.Name, claims.Span(p.MaxTTL))
		}
	}
	return ttl
}

// san refuses names that no certificate has as they are: they would grant
// nothing, in silence.
func (c *checker) san(at strictyaml.Path, san *configv1.MtlsCaller) {
	if text := san.GetUri(); text != "" {
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.String() != text {
			c.add(at.With("uri"), "%q is not a URI as a certificate has it, as in spiffe://example.org/ci", text)
		} else if strings.Contains(text, "*") {
			c.add(at.With("uri"), "names match exactly; a wildcard would match nobody; uri_prefix matches all below a path")
		}
	}
	if text := san.GetUriPrefix(); text != "" && !policy.Canonical(text) {
		c.add(at.With("uri_prefix"), "%q has capitals in its host, a user, escapes, a query, or a segment that is empty, . or ..; no URI below it would match", text)
	}
	if text := san.GetDns(); strings.Contains(text, "*") {
		c.add(at.With("dns"), "names match exactly; a wildcard would match nobody")
	} else if text != "" && !dnsName.MatchString(text) {
		c.add(at.With("dns"), "%q is not a DNS name, as in ci.example.org", text)
	}
	if text := san.GetEmail(); text != "" && !email.MatchString(text) {
		c.add(at.With("email"), "%q is not an e-mail address, as in ci@example.org", text)
	}
}

var (
	dnsName = regexp.MustCompile(`\A[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\z`)
	email   = regexp.MustCompile(`\A[!-?A-~]+@[!-?A-~]+\z`)
)

func (c *checker) match(at strictyaml.Path, m *configv1.CallerMatch) policy.Match {
	if u := m.GetUnix(); u != nil {
		return policy.Match{Unix: &policy.UnixMatch{UID: u.Uid, GID: u.Gid}}
	}
	if o := m.GetOidc(); o != nil {
		return policy.Match{Token: c.token(at.With("oidc"), o)}
	}
	if m.GetLoopback() {
		c.loopback(at.With("loopback"))
		return policy.Match{Loopback: true}
	}
	san := m.GetMtls()
	return policy.Match{URI: san.GetUri(), URIPrefix: san.GetUriPrefix(), DNS: strings.ToLower(san.GetDns()), Email: san.GetEmail()}
}

// loopback refuses a match of callers who have no way in.
func (c *checker) loopback(at strictyaml.Path) {
	for _, l := range c.config.GetListeners() {
		if l.GetTcp().GetPlaintextLoopback() {
			return
		}
	}
	c.add(at, "no listener has plaintext_loopback, so nobody comes this way; remove this")
}

// token returns what an issuer's tokens must say.
func (c *checker) token(at strictyaml.Path, o *configv1.OidcCaller) *policy.TokenMatch {
	if _, ok := c.config.GetIssuers()[o.GetIssuer()]; !ok {
		c.add(at.With("issuer"), "there is no issuer %q; there is %s", o.GetIssuer(), orDefault(names(c.config.GetIssuers()), "none"))
	}
	if o.GetSub() != "" && o.GetSubPrefix() != "" {
		c.add(at.With("sub_prefix"), "sub says it all; remove this")
	}
	out := &policy.TokenMatch{
		Issuer: o.GetIssuer(), Sub: o.GetSub(), SubPrefix: o.GetSubPrefix(),
		Claims: o.GetClaims(), Patterns: map[string]*regexp.Regexp{},
	}
	for name := range sorted(o.GetClaims()) {
		if name == "sub" || name == "iss" {
			c.add(at.With("claims", strictyaml.Key(name)), "has a field of its own: %s", map[string]string{"sub": "sub", "iss": "issuer"}[name])
		}
	}
	for name, pattern := range sorted(o.GetClaimPatterns()) {
		compiled, err := claims.CompilePattern(pattern)
		if err != nil {
			c.add(at.With("claim_patterns", strictyaml.Key(name)), "%v", err)
			continue
		}
		out.Patterns[name] = compiled
	}
	return out
}
