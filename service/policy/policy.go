// Package policy decides whether a caller may have a token of a profile. It is
// the only maker of a [Grant], and without a Grant nothing is minted.
package policy

import (
	"errors"
	"slices"

	"github.com/jotsmith/jotsmith/service/authn"
)

// ErrNotGranted says that no grant names the caller and the profile together.
// An unknown profile and a forbidden one are the same error.
var ErrNotGranted = errors.New("not granted")

// Rule lets callers mint profiles.
type Rule struct {
	Name     string
	Callers  []Match
	Profiles []string
	When     *Condition // what must hold beside; nil is nothing
	Narrowed bool       // whether the claims or the ttl are held to more than the profile; see claims.Narrowing
	Quota    Quota
}

// Quota is how often each caller of a rule may ask. The zero Quota is no limit.
type Quota struct {
	PerMinute int // requests given back in a minute
	Burst     int // requests that may come at once
}

// Policy holds the rules. It does not change and is safe for concurrent use.
type Policy struct {
	rules   []grantee
	callers index
}

// grantee is what a rule gives.
type grantee struct {
	name     string
	profiles map[string]struct{}
	when     *Condition
	narrowed bool
	quota    Quota
}

// New returns the policy of these rules. An empty policy grants nothing.
func New(rules []Rule) *Policy {
	p := &Policy{callers: newIndex(rules)}
	for _, rule := range rules {
		g := grantee{rule.Name, make(map[string]struct{}, len(rule.Profiles)), rule.When, rule.Narrowed, rule.Quota}
		for _, profile := range rule.Profiles {
			g.profiles[profile] = struct{}{}
		}
		p.rules = append(p.rules, g)
	}
	return p
}

// Grant is the permission for one caller to mint one profile, made by Decide
// alone. The zero Grant permits nothing.
type Grant struct {
	caller   authn.Caller
	profile  string
	rule     string
	narrowed bool
	quota    Quota
}

// Caller returns who was permitted.
func (g Grant) Caller() authn.Caller { return g.caller }

// Profile returns the name of the profile; it is empty for the zero Grant.
func (g Grant) Profile() string { return g.profile }

// Rule returns the name of the rule that permitted.
func (g Grant) Rule() string { return g.rule }

// Narrowed says whether the rule holds claims or the ttl to more than the
// profile does. Who approves a request must then know how.
func (g Grant) Narrowed() bool { return g.narrowed }

// Quota returns how often the caller may ask under the rule.
func (g Grant) Quota() Quota { return g.quota }

// Decide returns the Grant of the first rule, in the order given to New, that
// names both the caller and the profile and whose condition holds, or
// ErrNotGranted.
//
// Only rules that name the caller are looked at, and all of them, each with its
// condition and whether or not it has the profile, so that the time it takes
// says no more of a profile than the answer does.
func (p *Policy) Decide(caller authn.Caller, profile string) (Grant, error) {
	first := len(p.rules)
	for i := range p.callers.naming(caller) {
		rule := &p.rules[i]
		holds := rule.when == nil || rule.when.holds(caller, profile)
		if _, has := rule.profiles[profile]; has && holds {
			first = min(first, i)
		}
	}
	if first == len(p.rules) || profile == "" {
		return Grant{}, ErrNotGranted
	}
	rule := &p.rules[first]
	return Grant{caller, profile, rule.name, rule.narrowed, rule.quota}, nil
}

// Profiles returns the names of all profiles that the caller may mint, sorted.
func (p *Policy) Profiles(caller authn.Caller) []string {
	var profiles []string
	for i := range p.callers.naming(caller) {
		rule := &p.rules[i]
		for profile := range rule.profiles {
			if rule.when == nil || rule.when.holds(caller, profile) {
				profiles = append(profiles, profile)
			}
		}
	}
	slices.Sort(profiles)
	return slices.Compact(profiles)
}
