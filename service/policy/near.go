package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/service/authn"
)

// Miss is a rule that came near to permitting, and why it did not. It is for
// operators: a caller may not know it.
type Miss struct {
	Rule string
	Why  []string
}

// maxReasons is how many of a rule's callers a Miss compares with.
const maxReasons = 3

// Near returns the rules that have the caller or the profile and do not permit,
// in their order: those that lack least first.
func Near(rules []Rule, caller authn.Caller, profile string) []Miss {
	var conditions, callers, profiles []Miss
	for _, rule := range rules {
		has := slices.Contains(rule.Profiles, profile)
		one := newIndex([]Rule{rule})
		named := false
		for range one.naming(caller) {
			named = true
		}
		switch {
		case named && has && rule.When != nil:
			if holds, err := rule.When.eval(caller, profile); err != nil {
				conditions = append(conditions, Miss{rule.Name, []string{"its condition cannot be worked out: " + err.Error()}})
			} else if !holds {
				conditions = append(conditions, Miss{rule.Name, []string{"its condition is false"}})
			}
		case named && !has:
			profiles = append(profiles, Miss{rule.Name, []string{"names the caller, and not this profile"}})
		case has && !named:
			if why := differences(rule.Callers, caller); len(why) > 0 {
				callers = append(callers, Miss{rule.Name, why})
			}
		}
	}
	return slices.Concat(conditions, callers, profiles)
}

// differences says how a caller differs from those of his kind that a rule
// names; nothing where there is none of his kind.
func differences(matches []Match, caller authn.Caller) []string {
	var why []string
	for _, m := range matches {
		if difference := m.difference(caller); difference != "" {
			if len(why) == maxReasons {
				return append(why, "and others")
			}
			why = append(why, difference)
		}
	}
	return why
}

// difference says in what a caller of the match's kind is another.
func (m Match) difference(caller authn.Caller) string {
	cred, isUnix := caller.Unix()
	token, isToken := caller.Token()
	names, isNames := caller.Names()
	switch {
	case m.Unix != nil && isUnix:
		var parts []string
		if m.Unix.UID != nil && *m.Unix.UID != cred.UID {
			parts = append(parts, fmt.Sprintf("the uid is %d, not %d", cred.UID, *m.Unix.UID))
		}
		if m.Unix.GID != nil && *m.Unix.GID != cred.GID {
			parts = append(parts, fmt.Sprintf("the gid is %d, not %d", cred.GID, *m.Unix.GID))
		}
		return strings.Join(parts, ", ")
	case m.URI != "" && names.URI != "":
		return "the URI is not " + m.URI
	case m.URIPrefix != "" && names.URI != "" && !Canonical(names.URI):
		return "the URI has escapes, capitals, a query, or empty or dot segments, so no prefix matches"
	case m.URIPrefix != "" && names.URI != "":
		return "the URI is not below " + m.URIPrefix
	case m.DNS != "" && isNames && names.URI == "":
		return "no DNS name is " + m.DNS
	case m.Email != "" && isNames && names.URI == "":
		return "no e-mail address is " + m.Email
	case m.DNS != "" && isNames, m.Email != "" && isNames:
		return "the certificate has a URI, which alone counts"
	case m.Token != nil && isToken:
		return m.Token.difference(token)
	}
	return ""
}

// difference says the first thing in which a token is another.
func (m *TokenMatch) difference(token authn.Token) string {
	if m.Issuer != token.Issuer {
		return "the issuer is not " + m.Issuer
	}
	if m.Sub != "" && m.Sub != token.Subject {
		return fmt.Sprintf("the sub is not %q", m.Sub)
	}
	if m.SubPrefix != "" && !below(token.Subject, m.SubPrefix) {
		return fmt.Sprintf("the sub does not begin with %q", m.SubPrefix)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Claims)) {
		if got, ok := token.Claims[name]; !ok {
			return fmt.Sprintf("there is no claim %s; it must be %q", name, m.Claims[name])
		} else if got != m.Claims[name] {
			return fmt.Sprintf("the claim %s is %q, not %q", name, got, m.Claims[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Patterns)) {
		pattern := strings.TrimSuffix(strings.TrimPrefix(m.Patterns[name].String(), `\A(?:`), `)\z`)
		if got, ok := token.Claims[name]; !ok {
			return fmt.Sprintf("there is no claim %s; it must match %s", name, pattern)
		} else if !m.Patterns[name].MatchString(got) {
			return fmt.Sprintf("the claim %s is %q and does not match %s", name, got, pattern)
		}
	}
	return ""
}
