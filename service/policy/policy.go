// Package policy decides whether a caller may have a token of a profile. It is
// the only maker of a [Grant], and without a Grant nothing is minted.
package policy

import (
	"errors"
	"iter"
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
	rules   []grantee
	callers map[identity][]int // which rules, by their place in the file, name a caller
}

// grantee is what a rule gives.
type grantee struct {
	name     string
	profiles []string
}

// identity is one thing that a caller is known by, as a map's key.
type identity struct {
	kind     kind
	uid, gid uint32
	name     string
}

// kind is what an identity is.
type kind uint8

const (
	byUID kind = iota
	byGID
	byUIDAndGID
	byURI
	byDNS
	byEmail
)

// New returns the policy of these rules. An empty policy grants nothing.
func New(rules []Rule) *Policy {
	p := &Policy{callers: map[identity][]int{}}
	for i, rule := range rules {
		p.rules = append(p.rules, grantee{rule.Name, slices.Clone(rule.Profiles)})
		for _, m := range rule.Callers {
			if id, ok := m.identity(); ok {
				p.callers[id] = append(p.callers[id], i)
			}
		}
	}
	return p
}

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

// Decide returns the Grant of the first rule that names both the caller and
// the profile, or ErrNotGranted. Only rules that name the caller are looked
// at, and all of them, so that the time it takes says no more of a profile than
// the answer does.
func (p *Policy) Decide(caller authn.Caller, profile string) (Grant, error) {
	first := len(p.rules)
	for id := range identities(caller) {
		for _, i := range p.callers[id] {
			if slices.Contains(p.rules[i].profiles, profile) {
				first = min(first, i)
			}
		}
	}
	if first == len(p.rules) || profile == "" {
		return Grant{}, ErrNotGranted
	}
	return Grant{caller, profile, p.rules[first].name}, nil
}

// Profiles returns the names of all profiles that the caller may mint, sorted.
func (p *Policy) Profiles(caller authn.Caller) []string {
	var profiles []string
	for id := range identities(caller) {
		for _, i := range p.callers[id] {
			profiles = append(profiles, p.rules[i].profiles...)
		}
	}
	slices.Sort(profiles)
	return slices.Compact(profiles)
}

// identity is what a caller must be known by to match. A Match that does not
// set exactly one field matches nobody.
func (m Match) identity() (identity, bool) {
	switch {
	case m.Unix != nil && m == Match{Unix: m.Unix}:
		switch uid, gid := m.Unix.UID, m.Unix.GID; {
		case uid != nil && gid != nil:
			return identity{kind: byUIDAndGID, uid: *uid, gid: *gid}, true
		case uid != nil:
			return identity{kind: byUID, uid: *uid}, true
		case gid != nil:
			return identity{kind: byGID, gid: *gid}, true
		}
	case m.URI != "" && m == Match{URI: m.URI}:
		return identity{kind: byURI, name: m.URI}, true
	case m.DNS != "" && m == Match{DNS: m.DNS}:
		return identity{kind: byDNS, name: m.DNS}, true
	case m.Email != "" && m == Match{Email: m.Email}:
		return identity{kind: byEmail, name: m.Email}, true
	}
	return identity{}, false
}

// identities are all that a caller is known by.
func identities(caller authn.Caller) iter.Seq[identity] {
	return func(yield func(identity) bool) {
		if cred, ok := caller.Unix(); ok {
			_ = yield(identity{kind: byUID, uid: cred.UID}) &&
				yield(identity{kind: byGID, gid: cred.GID}) &&
				yield(identity{kind: byUIDAndGID, uid: cred.UID, gid: cred.GID})
			return
		}
		names, ok := caller.Names()
		if !ok {
			return
		}
		if names.URI != "" {
			yield(identity{kind: byURI, name: names.URI})
			return
		}
		for _, name := range names.DNS {
			if !yield(identity{kind: byDNS, name: name}) {
				return
			}
		}
		for _, name := range names.Emails {
			if !yield(identity{kind: byEmail, name: name}) {
				return
			}
		}
	}
}
