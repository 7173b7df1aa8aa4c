package claims

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/policy"
)

// grantBy returns the grant of a profile by a rule of this name.
func grantBy(t testing.TB, rule, profile string, narrowed bool) policy.Grant {
	t.Helper()
	uid := uint32(1000)
	rules := []policy.Rule{{Name: rule, Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{profile}, Narrowed: narrowed}}
	grant, err := policy.New(rules).Decide(authn.FromUnix(authn.Unix{UID: uid}), profile)
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// reader narrows jwt() to readers.
func reader() Narrowing {
	return Narrowing{Rule: "reader", MaxTTL: time.Minute, Claims: map[string]*CallerRule{
		"roles": {Type: "string", OneOf: []string{"reader"}, MaxLength: MaxBytes},
		"level": {Type: "integer", Max: new(int64(3))},
		"aud":   {Type: "string_list", OneOf: []string{"a", "b"}, MaxLength: MaxBytes, MaxItems: MaxItems},
	}}
}

func TestNarrowedRequests(t *testing.T) {
	catalog := New([]Profile{jwt()}, nil, reader())
	minute, more := time.Minute, time.Minute+time.Second
	for _, tt := range []struct {
		claims string
		ttl    *time.Duration
		want   string // the violations; empty is approved
	}{
		{`{"sub":"a","roles":"reader","level":1}`, nil, ""},
		{`{"sub":"a","roles":"reader","level":3}`, &minute, ""},
		{`{"sub":"a","roles":"writer","level":1}`, nil, "claims.roles is not among the profile's values"},
		{`{"sub":"a","roles":["reader"],"level":1}`, nil, "claims.roles is of type array of strings; the profile takes a string"},
		{`{"sub":"a","level":1}`, nil, "claims.roles is required"},
		{`{"sub":"a"}`, nil, "claims.level is required, claims.roles is required"},
		{`{"sub":"a","roles":"reader"}`, nil, "claims.level is required"},
		{`{"sub":"a","roles":"reader","level":4}`, nil, "claims.level is more than 3"},
		{`{"sub":"a","roles":"reader","level":1}`, &more, "ttl is over this profile's limit of 60s"},
		{`{"roles":7,"level":1}`, nil, "claims.roles is of type integer; the profile takes a string or an array of strings, claims.sub is required"},
		{`{"sub":"a","roles":"reader","level":1,"x":1}`, nil, "claims.x is not a claim of this profile"},
	} {
		for range 2 { // the second time from what is remembered
			draft, err := catalog.Prepare(grantBy(t, "reader", "svc", true), Request{Claims: tt.claims, TTL: tt.ttl})
			if got := listed(t, err); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.claims, got, tt.want)
			}
			if err == nil && draft.Life() != time.Minute {
				t.Errorf("%s: valid for %v", tt.claims, draft.Life())
			}
		}
	}
	if _, err := catalog.Prepare(grantBy(t, "lax", "svc", false), Request{Claims: `{"sub":"a","roles":["x","y"],"level":99}`, TTL: &more}); err != nil {
		t.Errorf("under a grant that does not narrow: %v", err)
	}
}

// listed returns the violations in one line, in the order of their fields.
func listed(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Fatal(err)
	}
	var all []string
	for _, v := range refusal.Violations {
		all = append(all, v.Field+" "+v.Description)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestFixedValuesAreHeldToTheGrant(t *testing.T) {
	for aud, want := range map[string]string{
		"a": "claims.aud item 1 is not among the profile's values",
		"b": "claims.aud item 0 is not among the profile's values",
		"c": "claims.aud item 0 is not among the profile's values",
	} {
		n := Narrowing{Rule: "r", Claims: map[string]*CallerRule{
			"aud": {Type: "string_list", OneOf: []string{aud}, MaxLength: 10, MaxItems: 10},
		}}
		_, err := New([]Profile{jwt()}, nil, n).Prepare(grantBy(t, "r", "svc", true), Request{Claims: `{"sub":"a"}`})
		if got := listed(t, err); got != want {
			t.Errorf("aud %s: %s", aud, got)
		}
	}
	for _, name := range []string{"jti", "iat", "nothing"} {
		n := Narrowing{Rule: "r", Claims: map[string]*CallerRule{name: {Type: "string"}}}
		if _, err := New([]Profile{jwt()}, nil, n).Prepare(grantBy(t, "r", "svc", true), Request{Claims: `{"sub":"a"}`}); err == nil {
			t.Errorf("approved with %s narrowed, which cannot be", name)
		}
	}
}

func TestUnknownNarrowingIsNoneAtAll(t *testing.T) {
	for name, catalog := range map[string]*Catalog{
		"none":    New([]Profile{jwt()}, nil),
		"another": New([]Profile{jwt()}, nil, Narrowing{Rule: "other"}),
	} {
		grant, req := grantBy(t, "reader", "svc", true), Request{Claims: `{"sub":"a"}`}
		if _, err := catalog.Prepare(grant, req); err == nil {
			t.Errorf("%s: approved under a grant that narrows, nobody knows how", name)
		}
		if _, err := catalog.Explain(grant, req, now()); err == nil {
			t.Errorf("%s: explained", name)
		}
	}
}

// The attack: a caller with a wide grant, or another narrow one, has a text
// approved that his own must refuse, and whoever asks with that text next.
func TestTextApprovedUnderOneGrantIsNotApprovedForAnother(t *testing.T) {
	p := jwt()
	role := func(name, value string) Narrowing {
		return Narrowing{Rule: name, Claims: map[string]*CallerRule{"roles": {Type: "string", OneOf: []string{value}, MaxLength: 64}}}
	}
	catalog := New([]Profile{p}, nil, role("readers", "reader"), role("writers", "writer"))
	wide, readers, writers := grantBy(t, "wide", "svc", false), grantBy(t, "readers", "svc", true), grantBy(t, "writers", "svc", true)
	const text = `{"sub":"a","roles":"writer"}`
	for range 3 {
		for _, grant := range []policy.Grant{wide, writers} {
			if _, err := catalog.Prepare(grant, Request{Claims: text}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := catalog.Prepare(readers, Request{Claims: text}); err == nil {
			t.Fatal("the approval under another grant counted")
		}
	}
	if n := catalog.seen.EstimatedSize(); n != 2 {
		t.Errorf("%d texts are kept", n)
	}
}

// Tokens of two grants are one where they are the same, and else are not.
func TestNarrowedTokensAreSharedWhereTheyAreTheSame(t *testing.T) {
	short := Narrowing{Rule: "short", MaxTTL: time.Minute}
	catalog := New([]Profile{jwt()}, nil, short)
	minute := time.Minute
	identity := func(rule string, ttl *time.Duration) string {
		draft, err := catalog.Prepare(grantBy(t, rule, "svc", rule == "short"), Request{Claims: `{"sub":"a"}`, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		return draft.Identity()
	}
	if identity("short", nil) != identity("wide", &minute) || identity("short", nil) == identity("wide", nil) {
		t.Error("tokens of one minute, and of the default")
	}
}

func TestExplanationNamesTheGrantsCondition(t *testing.T) {
	catalog := New([]Profile{jwt()}, nil, reader())
	grant := grantBy(t, "reader", "svc", true)
	for _, claims := range []string{`{"sub":"a","roles":"reader"}`, `{"sub":"a","roles":"writer"}`} {
		got, err := catalog.Explain(grant, Request{Claims: claims}, now())
		if err != nil {
			t.Fatal(err)
		}
		rules := map[string]string{}
		for _, d := range got.Decisions {
			rules[d.Name] = d.Rule
		}
		if want := "from the caller: a string or an array of strings, optional, up to 16 bytes, up to 3 items; by the grant reader: a string, required, one of reader"; rules["roles"] != want {
			t.Errorf("roles: %s", rules["roles"])
		}
		if want := `fixed to ["a","b"]; by the grant reader: an array of strings, required, one of a | b`; rules["aud"] != want {
			t.Errorf("aud: %s", rules["aud"])
		}
		limits := strings.Join(got.Limits, "\n")
		for _, want := range []string{"a token is valid for 1m unless the caller says otherwise, and for 1m at most", "the grant reader lets tokens be valid for 1m at most, which is less than the profile's default of 5m and takes its place"} {
			if !strings.Contains(limits, want) {
				t.Errorf("limits %s", limits)
			}
		}
	}
	plain, err := catalog.Explain(grantFor(t, "svc"), Request{Claims: `{"sub":"a"}`}, now())
	if err != nil || strings.Contains(strings.Join(plain.Limits, "\n"), "grant") {
		t.Errorf("%v, %v", plain.Limits, err)
	}
	n := reader()
	if got, want := strings.Join(n.Words(), "; "), "aud: an array of strings, required, one of a | b; level: an integer, required, at most 3; roles: a string, required, one of reader; ttl: 1m at most"; got != want {
		t.Errorf("words %s", got)
	}
}

// For any profile, narrowing and request: what passes with the grant's
// narrowing passes without, and lives no longer than either allows.
func TestNarrowingNeverWidens(t *testing.T) {
	wideGrant, narrowGrant := grantBy(t, "r", "p", false), grantBy(t, "r", "p", true)
	passed, held := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile(t, rapid.SampledFrom(modes()).Draw(t, "mode"))
		n := Narrowing{Rule: "r", Claims: map[string]*CallerRule{}}
		for name, rule := range p.Rules {
			if (rule.Caller != nil || rule.Fixed != nil) && rapid.IntRange(0, 2).Draw(t, "narrows") == 0 {
				n.Claims[name] = anyCallerRule(t)
				if rule.Caller != nil && rapid.Bool().Draw(t, "same type") {
					n.Claims[name].Type = rule.Caller.Type
				}
			}
		}
		if rapid.Bool().Draw(t, "has max ttl") {
			n.MaxTTL = anySeconds(t, "max ttl", 1, 4000)
		}
		req := anyRequest(t, p)
		wide, errWide := New([]Profile{p}, constantly(7)).Prepare(wideGrant, req)
		catalog := New([]Profile{p}, constantly(7), n)
		narrow, err := catalog.Prepare(narrowGrant, req)
		if err != nil {
			if errWide == nil {
				held++
			}
			return
		}
		passed++
		if errWide != nil {
			// A shorter default may leave room that the profile's own would not.
			t.Fatalf("approved with the narrowing and refused without: %v", errWide)
		}
		if narrow.Life() > wide.Life() && p.Expires() || n.MaxTTL > 0 && p.Expires() && narrow.ttl > n.MaxTTL {
			t.Fatalf("valid for %v, without the narrowing for %v, limit %v", narrow.ttl, wide.ttl, n.MaxTTL)
		}
		for name, rule := range n.Claims {
			v := narrow.profile.given(name, narrow.members)
			if v == nil && rule.Required || v != nil && rule.accepts(*v) != nil {
				t.Fatalf("claim %s is not as the grant has it", name)
			}
		}
		if narrow.ttl == wide.ttl && narrow.Identity() != wide.Identity() {
			t.Fatal("the same token has two identities")
		}
	})
	if passed == 0 || held == 0 {
		t.Errorf("%d passed, %d were held back", passed, held)
	}
}
