package policy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/authn"
)

func process(uid, gid uint32) authn.Caller { return authn.FromUnix(authn.Unix{UID: uid, GID: gid}) }

// holder returns the caller with a certificate of these names.
func holder(t testing.TB, uri string, dns, emails []string) authn.Caller {
	t.Helper()
	leaf := &x509.Certificate{DNSNames: dns, EmailAddresses: emails}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		leaf.URIs = []*url.URL{u}
	}
	caller, err := authn.FromCertificate(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func one(m Match) *Policy {
	return New([]Rule{{Name: "rule", Callers: []Match{m}, Profiles: []string{"p"}}})
}

func TestMatch(t *testing.T) {
	const ci = "spiffe://example.org/ci"
	for _, tt := range []struct {
		name   string
		match  Match
		caller authn.Caller
		want   bool
	}{
		{"the uid", Match{Unix: &UnixMatch{UID: new(uint32(7))}}, process(7, 9), true},
		{"another uid", Match{Unix: &UnixMatch{UID: new(uint32(7))}}, process(8, 9), false},
		{"the gid", Match{Unix: &UnixMatch{GID: new(uint32(9))}}, process(7, 9), true},
		{"another gid", Match{Unix: &UnixMatch{GID: new(uint32(9))}}, process(9, 7), false},
		{"uid and gid", Match{Unix: &UnixMatch{UID: new(uint32(7)), GID: new(uint32(9))}}, process(7, 9), true},
		{"the uid without the gid", Match{Unix: &UnixMatch{UID: new(uint32(7)), GID: new(uint32(9))}}, process(7, 8), false},
		{"the gid without the uid", Match{Unix: &UnixMatch{UID: new(uint32(7)), GID: new(uint32(9))}}, process(8, 9), false},
		{"root, asked for by its number", Match{Unix: &UnixMatch{UID: new(uint32(0))}}, process(0, 0), true},
		{"root where none is set", Match{Unix: &UnixMatch{}}, process(0, 0), false},
		{"a process and a name", Match{URI: ci}, process(0, 0), false},

		{"the URI", Match{URI: ci}, holder(t, ci, nil, nil), true},
		{"a longer URI", Match{URI: ci}, holder(t, ci+"/deploy", nil, nil), false},
		{"a shorter URI", Match{URI: ci}, holder(t, "spiffe://example.org/c", nil, nil), false},
		{"a slash behind the URI", Match{URI: ci}, holder(t, ci+"/", nil, nil), false},
		{"the URI in capitals", Match{URI: ci}, holder(t, "spiffe://example.org/CI", nil, nil), false},
		{"the URI's host in capitals", Match{URI: ci}, holder(t, "spiffe://Example.org/ci", nil, nil), false},
		{"the URI with a query", Match{URI: ci}, holder(t, ci+"?", nil, nil), false},
		{"the URI in escapes", Match{URI: ci}, holder(t, "spiffe://example.org/%63i", nil, nil), false},
		{"no wildcard in URIs", Match{URI: "spiffe://example.org/*"}, holder(t, ci, nil, nil), false},
		{"a DNS name beside a URI", Match{DNS: "ci.example.org"}, holder(t, ci, []string{"ci.example.org"}, nil), false},
		{"an e-mail address beside a URI", Match{Email: "ci@example.org"}, holder(t, ci, nil, []string{"ci@example.org"}), false},

		{"the DNS name", Match{DNS: "ci.example.org"}, holder(t, "", []string{"ci.example.org"}, nil), true},
		{"the second DNS name", Match{DNS: "ci.example.org"}, holder(t, "", []string{"a.example.org", "ci.example.org"}, nil), true},
		{"the DNS name in capitals", Match{DNS: "ci.example.org"}, holder(t, "", []string{"CI.Example.ORG"}, nil), true},
		{"a name below", Match{DNS: "example.org"}, holder(t, "", []string{"ci.example.org"}, nil), false},
		{"a certificate for a wildcard", Match{DNS: "ci.example.org"}, holder(t, "", []string{"*.example.org"}, nil), false},
		{"a dot behind", Match{DNS: "ci.example.org"}, holder(t, "", []string{"ci.example.org."}, nil), false},
		{"an e-mail address that is the DNS name", Match{DNS: "ci.example.org"}, holder(t, "", nil, []string{"ci.example.org"}), false},

		{"the e-mail address", Match{Email: "ci@example.org"}, holder(t, "", nil, []string{"ci@example.org"}), true},
		{"the e-mail address beside a DNS name", Match{Email: "ci@example.org"}, holder(t, "", []string{"x"}, []string{"y", "ci@example.org"}), true},
		{"the e-mail address in capitals", Match{Email: "ci@example.org"}, holder(t, "", nil, []string{"CI@example.org"}), false},

		{"uid match and a certificate", Match{Unix: &UnixMatch{UID: new(uint32(0))}}, holder(t, ci, nil, nil), false},
		{"two fields set, and one holds", Match{Unix: &UnixMatch{UID: new(uint32(7))}, URI: ci}, process(7, 9), false},
		{"two names set, and both hold", Match{DNS: "a", Email: "b"}, holder(t, "", []string{"a"}, []string{"b"}), false},
		{"zero match and root", Match{}, process(0, 0), false},
		{"zero match and a certificate", Match{}, holder(t, ci, nil, nil), false},
		{"zero match and nobody", Match{}, authn.Caller{}, false},
		{"uid 0 and nobody", Match{Unix: &UnixMatch{UID: new(uint32(0)), GID: new(uint32(0))}}, authn.Caller{}, false},
		{"a URI and nobody", Match{URI: ci}, authn.Caller{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			grant, err := one(tt.match).Decide(tt.caller, "p")
			if (err == nil) != tt.want {
				t.Errorf("%+v, %v", grant, err)
			}
			if (len(one(tt.match).Profiles(tt.caller)) == 1) != tt.want {
				t.Errorf("profiles %v", one(tt.match).Profiles(tt.caller))
			}
		})
	}
}

func TestEmptyPolicyGrantsNothing(t *testing.T) {
	for name, p := range map[string]*Policy{
		"zero":             {},
		"no rules":         New(nil),
		"zero rule":        New([]Rule{{}}),
		"no callers":       New([]Rule{{Name: "r", Profiles: []string{"p"}}}),
		"no profiles":      New([]Rule{{Name: "r", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(0))}}}}}),
		"no name of a one": New([]Rule{{Name: "r", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(0))}}}, Profiles: []string{""}}}),
	} {
		for _, profile := range []string{"p", ""} {
			if grant, err := p.Decide(process(0, 0), profile); !errors.Is(err, ErrNotGranted) || grant != (Grant{}) {
				t.Errorf("%s, %q: %+v, %v", name, profile, grant, err)
			}
		}
	}
}

func TestUnknownAndForbiddenProfilesAreTheSameError(t *testing.T) {
	p := New([]Rule{
		{Name: "a", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}, Profiles: []string{"granted"}},
		{Name: "b", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(2))}}}, Profiles: []string{"forbidden"}},
	})
	_, forbidden := p.Decide(process(1, 1), "forbidden")
	_, unknown := p.Decide(process(1, 1), "unknown")
	_, stranger := p.Decide(process(3, 3), "granted")
	_, nobody := p.Decide(authn.Caller{}, "granted")
	for name, err := range map[string]error{"forbidden": forbidden, "unknown": unknown, "stranger": stranger, "nobody": nobody} {
		if err != ErrNotGranted { //nolint:errorlint // not even wrapped, so that no text can differ
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProfilesMatchExactly(t *testing.T) {
	p := New([]Rule{{Name: "r", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}, Profiles: []string{"mobile/asc", "*"}}})
	for profile, want := range map[string]bool{
		"mobile/asc": true, "*": true,
		"mobile": false, "mobile/": false, "mobile/ascx": false, "Mobile/asc": false, "mobile/asc\x00": false, "": false, "x": false,
	} {
		if _, err := p.Decide(process(1, 1), profile); (err == nil) != want {
			t.Errorf("%q: %v", profile, err)
		}
	}
}

func TestGrantNamesTheFirstRuleThatPermits(t *testing.T) {
	callers := []Match{{Unix: &UnixMatch{UID: new(uint32(5))}}, {Unix: &UnixMatch{GID: new(uint32(1))}}}
	p := New([]Rule{
		{Name: "other profile", Callers: callers, Profiles: []string{"q"}},
		{Name: "other caller", Callers: callers[:1], Profiles: []string{"p"}},
		{Name: "first", Callers: callers, Profiles: []string{"q", "p"}},
		{Name: "second", Callers: callers, Profiles: []string{"p"}},
	})
	caller := process(1, 1)
	grant, err := p.Decide(caller, "p")
	if err != nil {
		t.Fatal(err)
	}
	if grant.Rule() != "first" || grant.Profile() != "p" || grant.Caller() != caller {
		t.Errorf("%q, %q, %v", grant.Rule(), grant.Profile(), grant.Caller())
	}
}

// The caller of one rule and the profile of another are not a grant.
func TestRulesAreNotMixed(t *testing.T) {
	p := New([]Rule{
		{Name: "a", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}, Profiles: []string{"p"}},
		{Name: "b", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(2))}}}, Profiles: []string{"q"}},
	})
	if grant, err := p.Decide(process(1, 1), "q"); err == nil {
		t.Errorf("%+v", grant)
	}
}

func TestProfilesAreSortedAndNamedOnce(t *testing.T) {
	me := []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}
	p := New([]Rule{
		{Name: "a", Callers: me, Profiles: []string{"z", "b"}},
		{Name: "b", Callers: me, Profiles: []string{"b", "a", "z"}},
		{Name: "c", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(2))}}}, Profiles: []string{"c"}},
	})
	if diff := cmp.Diff([]string{"a", "b", "z"}, p.Profiles(process(1, 1))); diff != "" {
		t.Error(diff)
	}
	if got := p.Profiles(process(3, 3)); len(got) != 0 {
		t.Errorf("a stranger has %v", got)
	}
	if got := p.Profiles(authn.Caller{}); len(got) != 0 {
		t.Errorf("nobody has %v", got)
	}
}

func TestProfilesMatchesDecide(t *testing.T) {
	var rules []Rule
	for i := range uint32(20) {
		rules = append(rules, Rule{
			Name:     fmt.Sprint(i),
			Callers:  []Match{{Unix: &UnixMatch{UID: new(i % 5)}}, {Unix: &UnixMatch{GID: new(i % 3)}}},
			Profiles: []string{fmt.Sprint(i % 7), fmt.Sprint(i % 4)},
		})
	}
	p := New(rules)
	for uid := range uint32(6) {
		for gid := range uint32(4) {
			var want []string
			for profile := range 8 {
				if _, err := p.Decide(process(uid, gid), fmt.Sprint(profile)); err == nil {
					want = append(want, fmt.Sprint(profile))
				}
			}
			if diff := cmp.Diff(want, p.Profiles(process(uid, gid))); diff != "" {
				t.Errorf("uid %d, gid %d: %s", uid, gid, diff)
			}
		}
	}
}

func TestPolicyDoesNotChangeWithItsRules(t *testing.T) {
	rules := []Rule{{Name: "r", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}, Profiles: []string{"p"}}}
	p := New(rules)
	rules[0].Profiles[0], rules[0].Callers[0] = "q", Match{Unix: &UnixMatch{UID: new(uint32(2))}}
	*rules[0].Callers[0].Unix.UID = 2
	if _, err := p.Decide(process(1, 1), "p"); err != nil {
		t.Error(err)
	}
	if _, err := p.Decide(process(2, 2), "q"); err == nil {
		t.Error("granted by a rule that New never saw")
	}
	p.Profiles(process(1, 1))[0] = "q"
	if _, err := p.Decide(process(1, 1), "q"); err == nil {
		t.Error("granted by what Profiles returned")
	}
}

func BenchmarkDecide1000Rules(b *testing.B) {
	var rules []Rule
	for i := range uint32(1000) {
		rules = append(rules, Rule{
			Name:     fmt.Sprint(i),
			Callers:  []Match{{Unix: &UnixMatch{UID: new(i)}}, {URI: fmt.Sprintf("spiffe://example.org/%d", i)}},
			Profiles: []string{fmt.Sprintf("p%d", i), "shared"},
		})
	}
	p := New(rules)
	for _, bb := range []struct {
		name    string
		caller  authn.Caller
		profile string
	}{
		{"first", process(0, 0), "p0"},
		{"last", process(999, 0), "p999"},
		{"uri", holder(b, "spiffe://example.org/500", nil, nil), "shared"},
		{"refused", process(5000, 0), "p1"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Decide(bb.caller, bb.profile)
			}
		})
	}
}
