package claims

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Narrowing is what a rule of the policy holds its callers to beside the
// profile: it refuses, and never lets through what the profile would refuse.
type Narrowing struct {
	Rule string // the name of the policy's rule
	// Claims are what the value of a claim must pass, whether the caller sends it
	// or the profile fixes it. Each must be there: a token without a claim that
	// limits it is one without the limit. A claim that is neither the caller's
	// nor fixed cannot be narrowed, and there is then no token.
	Claims map[string]*CallerRule
	MaxTTL time.Duration // the most that exp - now may be; 0 leaves it to the profile
}

// rule returns the rule's name; empty where nothing is narrowed.
func (n *Narrowing) rule() string {
	if n == nil {
		return ""
	}
	return n.Rule
}

// maxTTL returns the lesser of the profile's limit and the rule's.
func (n *Narrowing) maxTTL(profile time.Duration) time.Duration {
	if n == nil || n.MaxTTL <= 0 {
		return profile
	}
	return min(profile, n.MaxTTL)
}

// check holds the claims of a token to the rule. It reads like the profile's
// own refusals: whose condition it is, is no business of the caller's.
func (n *Narrowing) check(p *compiled, members []member, refusal *Refusal) {
	if n == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(n.Claims)) {
		if refusal.has(field(name)) { // by the profile
			continue
		}
		condition, rule := n.Claims[name], p.Rules[name]
		v := p.given(name, members)
		switch {
		case rule.Caller == nil && (rule.Fixed == nil || v == nil):
			refusal.add(field(name), "cannot be what the grant asks for")
		case v == nil: // a token without a scope, for one, may do more than any with one
			refusal.add(field(name), "is required")
		default:
			if err := condition.accepts(*v); err != nil {
				refusal.add(field(name), err.Error())
			}
		}
	}
}

func (r *Refusal) has(field string) bool {
	return slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Field == field })
}

// explain adds the rule's conditions to the decisions.
func (n *Narrowing) explain(decisions []Decision) []Decision {
	if n == nil {
		return decisions
	}
	for i := range decisions {
		if condition, ok := n.Claims[decisions[i].Name]; ok {
			decisions[i].Rule += fmt.Sprintf("; by the grant %s: %s", n.Rule, condition.narrowWords())
		}
	}
	return decisions
}

// Words says what the rule holds the profile's claims to, one fact each.
func (n *Narrowing) Words() []string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(n.Claims)) {
		words = append(words, name+": "+n.Claims[name].narrowWords())
	}
	if n.MaxTTL > 0 {
		words = append(words, fmt.Sprintf("ttl: %s at most", Span(n.MaxTTL)))
	}
	return words
}

// narrowWords are Words without what no rule of a grant has set.
func (r *CallerRule) narrowWords() string {
	parts := []string{typeNames[r.Type], "required"}
	for _, condition := range r.conditions() {
		if condition != fmt.Sprintf("up to %d bytes", MaxBytes) && condition != fmt.Sprintf("up to %d items", MaxItems) {
			parts = append(parts, condition)
		}
	}
	return strings.Join(parts, ", ")
}

// MaxItems is the most items that a list can be allowed to have.
const MaxItems = 1024

// limits are the profile's, with the rule's ttl.
func (n *Narrowing) limits(p *compiled) []string {
	most := n.maxTTL(p.MaxTTL)
	if most == p.MaxTTL {
		return p.Limits()
	}
	narrow := p.Profile
	narrow.MaxTTL, narrow.DefaultTTL = most, min(p.DefaultTTL, most)
	words := fmt.Sprintf("the grant %s lets tokens be valid for %s at most", n.Rule, Span(most))
	if most < p.DefaultTTL {
		words += fmt.Sprintf(", which is less than the profile's default of %s and takes its place", Span(p.DefaultTTL))
	}
	return append(narrow.Limits(), words)
}
