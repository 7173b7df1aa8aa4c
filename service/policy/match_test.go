package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/authn"
)

// bearer returns the caller with a token of the issuer.
func bearer(issuer, sub string, claims map[string]string) authn.Caller {
	return authn.FromToken(authn.Token{Issuer: issuer, Subject: sub, Claims: claims}, time.Time{})
}

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile(`\A(?:` + pattern + `)\z`) }

func TestPrefixesMatchWhatIsBelowThem(t *testing.T) {
	ci := Match{URIPrefix: "spiffe://example.org/ci/"}
	all := Match{URIPrefix: "spiffe://example.org/"}
	for _, tt := range []struct {
		match Match
		uri   string
		want  bool
	}{
		{ci, "spiffe://example.org/ci/deploy", true},
		{ci, "spiffe://example.org/ci/a/b/c", true},
		{ci, "spiffe://example.org/ci/a/", true},
		{ci, "spiffe://example.org/ci/", false},
		{ci, "spiffe://example.org/ci", false},
		{ci, "spiffe://example.org/cix/deploy", false},
		{ci, "spiffe://example.org/x/ci/deploy", false},
		{ci, "spiffe://example.org.evil.example/ci/deploy", false},
		{ci, "spiffe://evil.example/ci/deploy", false},
		{ci, "spiffe://Example.org/ci/deploy", false},
		{ci, "https://example.org/ci/deploy", false},
		{ci, "spiffe://example.org/ci/../admin", false},
		{ci, "spiffe://example.org/ci/./deploy", false},
		{ci, "spiffe://example.org/ci//deploy", false},
		{ci, "spiffe://example.org/ci/%2e%2e/admin", false},
		{ci, "spiffe://example.org/ci/%2F", false},
		{ci, "spiffe://example.org/%63i/deploy", false},
		{ci, "spiffe://example.org/ci/deploy?x=1", false},
		{ci, "spiffe://example.org/ci/deploy#x", false},
		{ci, "spiffe://user@example.org/ci/deploy", false},
		{all, "spiffe://example.org/ci", true},
		{all, "spiffe://example.org/", false},
		{all, "spiffe://example.org", false},
		{all, "spiffe://example.organic/ci", false},
		{Match{URIPrefix: "spiffe://example.org/ci"}, "spiffe://example.org/ci/x", false},
		{Match{URIPrefix: "spiffe://"}, "spiffe://example.org/ci", false},
		{Match{URIPrefix: "/"}, "spiffe://example.org/ci", false},
	} {
		if _, err := one(tt.match).Decide(holder(t, tt.uri, nil, nil), "p"); (err == nil) != tt.want {
			t.Errorf("%s below %s: %v", tt.uri, tt.match.URIPrefix, err)
		}
	}
	if _, err := one(ci).Decide(bearer("i", "spiffe://example.org/ci/deploy", nil), "p"); err == nil {
		t.Error("a token's subject is no certificate's name")
	}
}

func TestTokensMatchByAllThatIsSet(t *testing.T) {
	const main = "repo:example/app:ref:refs/heads/main"
	caller := bearer("github", main, map[string]string{"repository": "example/app", "ref": "refs/heads/main", "empty": ""})
	token := func(m TokenMatch) Match {
		if m.Issuer == "" {
			m.Issuer = "github"
		}
		return Match{Token: &m}
	}
	claims := func(pairs ...string) map[string]string {
		out := map[string]string{}
		for pair := range slices.Chunk(pairs, 2) {
			out[pair[0]] = pair[1]
		}
		return out
	}
	patterns := func(name, pattern string) map[string]*regexp.Regexp {
		return map[string]*regexp.Regexp{name: whole(pattern)}
	}
	for name, tt := range map[string]struct {
		match Match
		want  bool
	}{
		"the sub":                            {token(TokenMatch{Sub: main}), true},
		"another sub":                        {token(TokenMatch{Sub: main + "x"}), false},
		"the sub of another issuer":          {token(TokenMatch{Issuer: "gitlab", Sub: main}), false},
		"a sub prefix":                       {token(TokenMatch{SubPrefix: "repo:example/app:"}), true},
		"a sub prefix with a slash":          {token(TokenMatch{SubPrefix: "repo:example/"}), true},
		"a sub prefix of another":            {token(TokenMatch{SubPrefix: "repo:example/ap:"}), false},
		"a sub prefix that ends in between":  {token(TokenMatch{SubPrefix: "repo:example/ap"}), false},
		"a sub prefix that is the whole sub": {token(TokenMatch{SubPrefix: main + ":"}), false},
		"a sub prefix of another issuer":     {token(TokenMatch{Issuer: "gitlab", SubPrefix: "repo:"}), false},
		"claims":                             {token(TokenMatch{Claims: claims("repository", "example/app", "ref", "refs/heads/main")}), true},
		"one claim that differs":             {token(TokenMatch{Claims: claims("repository", "example/app", "ref", "refs/heads/x")}), false},
		"a claim that is not there":          {token(TokenMatch{Claims: claims("repository", "example/app", "x", "")}), false},
		"an empty claim":                     {token(TokenMatch{Claims: claims("empty", "")}), true},
		"claims of another issuer":           {token(TokenMatch{Issuer: "gitlab", Claims: claims("repository", "example/app")}), false},
		"a pattern":                          {token(TokenMatch{Patterns: patterns("ref", "refs/heads/.*")}), true},
		"a pattern of a part":                {token(TokenMatch{Patterns: patterns("ref", "refs")}), false},
		"a pattern of no claim":              {token(TokenMatch{Patterns: patterns("x", ".*")}), false},
		"a pattern of another issuer":        {token(TokenMatch{Issuer: "gitlab", Patterns: patterns("ref", ".*")}), false},
		"all":                                {token(TokenMatch{SubPrefix: "repo:", Claims: claims("repository", "example/app"), Patterns: patterns("ref", ".*main")}), true},
		"all but the pattern":                {token(TokenMatch{SubPrefix: "repo:", Claims: claims("repository", "example/app"), Patterns: patterns("ref", "main")}), false},
		"the sub, but not the claim":         {token(TokenMatch{Sub: main, Claims: claims("repository", "other")}), false},
		"the issuer alone":                   {token(TokenMatch{}), false},
		"no issuer":                          {Match{Token: &TokenMatch{Sub: main}}, false},
		"a token and a name":                 {Match{Token: &TokenMatch{Issuer: "github", Sub: main}, DNS: main}, false},
	} {
		p := one(tt.match)
		if _, err := p.Decide(caller, "p"); (err == nil) != tt.want || (len(p.Profiles(caller)) == 1) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
		for _, other := range []authn.Caller{process(0, 0), {}, holder(t, main, nil, nil), bearer("", main, nil)} {
			if _, err := p.Decide(other, "p"); err == nil {
				t.Errorf("%s: granted to %v", name, other)
			}
		}
	}
}

// The policy looks callers up; here each match is tried on each caller as its
// comment has it.
func TestTheIndexFindsWhatTryingEachMatchFinds(t *testing.T) {
	var rules []Rule
	for i := range 300 {
		m := TokenMatch{Issuer: fmt.Sprint("i", i%2)}
		switch i % 5 {
		case 0:
			m.Sub = fmt.Sprintf("a:%d/x", i%7)
		case 1:
			m.SubPrefix = fmt.Sprintf("a:%d/", i%7)
		case 2:
			m.Claims = map[string]string{"c": fmt.Sprint(i % 3), "d": fmt.Sprint(i % 4)}
		case 3:
			m.Patterns = map[string]*regexp.Regexp{"c": whole(fmt.Sprintf("[%d-9]", i%9))}
		default:
			m.SubPrefix, m.Claims = "a:", map[string]string{"d": fmt.Sprint(i % 4)}
		}
		rules = append(rules, Rule{Name: fmt.Sprint(i), Callers: []Match{{Token: &m}}, Profiles: []string{fmt.Sprint(i)}})
	}
	p := New(rules)
	for i := range 200 {
		token := authn.Token{
			Issuer: fmt.Sprint("i", i%3), Subject: fmt.Sprintf("a:%d/x", i%8),
			Claims: map[string]string{"c": fmt.Sprint(i % 5), "d": fmt.Sprint(i % 6)},
		}
		var want []string
		for _, rule := range rules {
			if m := rule.Callers[0].Token; m.Issuer == token.Issuer && m.holds(token) {
				want = append(want, rule.Name)
			}
		}
		slices.Sort(want)
		if got := p.Profiles(authn.FromToken(token, time.Time{})); !slices.Equal(got, want) {
			t.Fatalf("%v: %v, want %v", token, got, want)
		}
	}
}

// looked returns the rules that are looked at for a caller.
func looked(p *Policy, caller authn.Caller) []int {
	return slices.Sorted(p.callers.naming(caller))
}

// What is looked at, and what is worked out, hangs on the caller alone and not
// on the profile, or the time it takes would say which profiles there are.
func TestAllRulesThatNameTheCallerAreLookedAtWhateverTheProfile(t *testing.T) {
	counted := map[string]int{}
	me := []Match{{Unix: &UnixMatch{UID: new(uint32(1))}}}
	p := New([]Rule{
		{Name: "a", Callers: me, Profiles: []string{"p"}, When: counting(t, counted, "a", false)},
		{Name: "b", Callers: me, Profiles: []string{"p"}, When: counting(t, counted, "b", true)},
		{Name: "c", Callers: me, Profiles: []string{"q"}, When: counting(t, counted, "c", true)},
		{Name: "d", Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(2))}}}, Profiles: []string{"p", "hidden"}, When: counting(t, counted, "d", true)},
	})
	if got := looked(p, process(1, 1)); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("looked at %v", got)
	}
	for profile, granted := range map[string]string{"p": "b", "q": "c", "hidden": "", "unheard-of": "", "": ""} {
		clear(counted)
		grant, _ := p.Decide(process(1, 1), profile)
		if grant.Rule() != granted || !maps.Equal(counted, map[string]int{"a": 1, "b": 1, "c": 1}) {
			t.Errorf("%q: granted by %q, worked out %v", profile, grant.Rule(), counted)
		}
	}
}

func BenchmarkDecide4096Grants(b *testing.B) {
	condition := condition(b, `caller.claims.ref == "refs/heads/main"`)
	var rules []Rule
	for i := range uint32(4096) {
		repository := fmt.Sprintf("example/app%d", i)
		rules = append(rules, Rule{
			Name: fmt.Sprint(i),
			Callers: []Match{
				{Unix: &UnixMatch{UID: new(i)}},
				{URI: fmt.Sprintf("spiffe://example.org/%d", i)},
				{URIPrefix: fmt.Sprintf("spiffe://example.org/teams/%d/", i)},
				{Token: &TokenMatch{Issuer: "github", SubPrefix: "repo:" + repository + ":"}},
				{Token: &TokenMatch{Issuer: "gitlab", Claims: map[string]string{"ref": "refs/heads/main", "repository": repository}}},
				{Token: &TokenMatch{Issuer: "cel", Sub: repository}},
			},
			Profiles: []string{fmt.Sprintf("p%d", i), "shared"},
		})
		if i == 4000 {
			rules[i].When = condition
		}
	}
	p := New(rules)
	claims := map[string]string{"ref": "refs/heads/main", "repository": "example/app2048"}
	for _, bb := range []struct {
		name    string
		caller  authn.Caller
		profile string
		granted bool
	}{
		{"uid", process(2048, 0), "p2048", true},
		{"uri", holder(b, "spiffe://example.org/2048", nil, nil), "shared", true},
		{"prefix", holder(b, "spiffe://example.org/teams/2048/ns/prod/sa/deploy", nil, nil), "shared", true},
		{"sub_prefix", bearer("github", "repo:example/app2048:ref:refs/heads/main", nil), "shared", true},
		{"claims", bearer("gitlab", "x", claims), "p2048", true},
		{"when", bearer("cel", "example/app4000", claims), "p4000", true},
		{"unknown-profile", bearer("gitlab", "x", claims), "p1", false},
		{"stranger", bearer("github", "repo:"+strings.Repeat("a/", 20), nil), "p1", false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Decide(bb.caller, bb.profile); (err == nil) != bb.granted {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestLoopbackIsGrantedByNameAlone(t *testing.T) {
	uid := uint32(0)
	all := Match{Loopback: true}
	for _, tt := range []struct {
		match  Match
		caller authn.Caller
		want   bool
	}{
		{all, authn.FromLoopback(), true},
		{all, authn.Caller{}, false},
		{all, authn.FromUnix(authn.Unix{}), false},
		{all, bearer("loopback", "loopback", nil), false},
		{all, holder(t, "loopback:", nil, nil), false},
		{Match{Unix: &UnixMatch{UID: &uid}}, authn.FromLoopback(), false},
		{Match{URI: "loopback"}, authn.FromLoopback(), false},
		{Match{DNS: "localhost"}, authn.FromLoopback(), false},
		{Match{Loopback: true, DNS: "localhost"}, authn.FromLoopback(), false}, // says two things
		{Match{}, authn.FromLoopback(), false},
	} {
		if _, err := one(tt.match).Decide(tt.caller, "p"); (err == nil) != tt.want {
			t.Errorf("%+v for %v: %v", tt.match, tt.caller, err)
		}
	}
}
