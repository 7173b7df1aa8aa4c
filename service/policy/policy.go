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

// Match describes one caller; exactly one field is set.
type Match struct {
	Unix  *UnixMatch
	URI   string // exact, as the certificate has it
	DNS   string // exact, lower case
	Email string // exact
}

// UnixMatch matches peer credentials: every id that is set must be the same.
type UnixMatch struct {
	UID, GID *uint32
}

// Rule lets callers mint profiles.
type Rule struct {
	Name     string
	Callers  []Match
	Profiles []string
}

// Policy holds the rules. It does not change and is safe for concurrent use.
type Policy struct {
	rules []Rule
}

// New returns the policy of these rules. An empty policy grants nothing.
func New(rules []Rule) *Policy { return &Policy{slices.Clone(rules)} }

// Grant is the permission for one caller to mint one profile, made by Decide
// alone. The zero Grant permits nothing.
type Grant struct {
	caller  authn.Caller
	profile string
	rule    string
}

// Caller returns who was permitted.
func (g Grant) Caller() authn.Caller { return g.caller }

// Profile returns the name of the profile; it is empty for the zero Grant.
func (g Grant) Profile() string { return g.profile }

// Rule returns the name of the rule that permitted.
func (g Grant) Rule() string { return g.rule }

// Decide returns the first rule's Grant that names both the caller and the
// profile, or ErrNotGranted. It looks at every rule in either case, so that
// the time says no more than the answer.
func (p *Policy) Decide(caller authn.Caller, profile string) (Grant, error) {
	var grant Grant
	for i := range p.rules {
		rule := &p.rules[i]
		callerMatches := rule.matches(caller)
		profileMatches := slices.Contains(rule.Profiles, profile)
		if callerMatches && profileMatches && grant.profile == "" {
			grant = Grant{caller, profile, rule.Name}
		}
	}
	if grant.profile == "" {
		return Grant{}, ErrNotGranted
	}
	return grant, nil
}

// Profiles returns the names of all profiles that the caller may mint, sorted.
func (p *Policy) Profiles(caller authn.Caller) []string {
	var profiles []string
	for i := range p.rules {
		if p.rules[i].matches(caller) {
			profiles = append(profiles, p.rules[i].Profiles...)
		}
	}
	slices.Sort(profiles)
	return slices.Compact(profiles)
}

func (r *Rule) matches(caller authn.Caller) bool {
	return slices.ContainsFunc(r.Callers, func(m Match) bool { return m.matches(caller) })
}

func (m Match) matches(caller authn.Caller) bool {
	if cred, ok := caller.Unix(); ok {
		return m.Unix != nil && m.Unix.matches(cred)
	}
	names, ok := caller.Names()
	if !ok {
		return false
	}
	switch {
	case m.URI != "":
		return m.URI == names.URI
	case m.DNS != "":
		return slices.Contains(names.DNS, m.DNS)
	case m.Email != "":
		return slices.Contains(names.Emails, m.Email)
	}
	return false
}

func (m *UnixMatch) matches(cred authn.Unix) bool {
	if m.UID == nil && m.GID == nil {
		return false
	}
	return (m.UID == nil || *m.UID == cred.UID) && (m.GID == nil || *m.GID == cred.GID)
}
