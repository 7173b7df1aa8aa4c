package claims

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/policy"
)

// rich is a profile with every kind of rule.
func rich(t testing.TB) Profile {
	t.Helper()
	team, err := CompilePattern("team-[a-z]+")
	if err != nil {
		t.Fatal(err)
	}
	return Profile{
		Name: "rich", Key: "key-1", Typ: "at+jwt",
		Header: map[string]Rule{
			"nonce": {Computed: Nonce, Doc: "https://verifier.example/nonce"},
			"v":     {Fixed: []byte(`"2"`)},
		},
		Rules: map[string]Rule{
			"iss":    {Fixed: []byte(`"https://issuer.example"`), Doc: "https://verifier.example/iss"},
			"iat":    {Computed: IssueTime},
			"nbf":    {Computed: NotBefore},
			"exp":    {Computed: ExpireTime},
			"jti":    {Computed: UUID},
			"legacy": {Forbidden: true},
			"team": {Doc: "https://verifier.example/team", Caller: &CallerRule{
				Type: "string", Required: true, MaxLength: 16, OneOf: []string{"team-a", "team-b"},
				Narrows: &CallerRule{Type: "string", MaxLength: 1024, Pattern: team},
			}},
			"level": {Caller: &CallerRule{Type: "integer", Min: new(int64(1)), Max: new(int64(5))}},
			"admin": {Caller: &CallerRule{Type: "boolean"}},
			"scope": {Caller: &CallerRule{Type: "string_list", MaxLength: 1024, MaxItems: 64, Check: CheckASCScope}},
		},
		DefaultTTL: 5 * time.Minute, MaxTTL: time.Hour, Backdate: 10 * time.Second, MaxLifetime: 10 * time.Minute,
		LongLived: &LongLived{Claim: "scope", Check: CheckASCLongLived, MaxLifetime: 24 * time.Hour},
		Reuse:     Reuse{Mode: UntilRefresh},
	}
}

func richDecisions() []Decision {
	const scope = "from the caller: an array of strings, optional, as a scope of App Store Connect, GET <path>[?<query>], up to 1024 bytes, up to 64 items"
	return []Decision{
		{"header.alg", "always ES256 (RFC 7518 section 3.4)", "", true},
		{"header.kid", "the kid of the profile's key", "", true},
		{"header.typ", `fixed to "at+jwt"`, "", true},
		{"header.nonce", "16 random bytes in hexadecimal", "https://verifier.example/nonce", true},
		{"header.v", `fixed to "2"`, "", true},
		{"admin", "from the caller: a boolean, optional", "", false},
		{"exp", "the time of minting plus the ttl", "", true},
		{"iat", "the time of minting less 10s", "", true},
		{"iss", `fixed to "https://issuer.example"`, "https://verifier.example/iss", true},
		{"jti", "a random UUID", "", true},
		{"legacy", "forbidden", "", false},
		{"level", "from the caller: an integer, optional, at least 1, at most 5", "", false},
		{"nbf", "the time of minting less 10s", "", true},
		{"scope", scope, "", false},
		{"team", "from the caller: a string, required, one of team-a | team-b, up to 16 bytes, matching team-[a-z]+, up to 1024 bytes", "https://verifier.example/team", true},
	}
}

func TestDecisionsSayWhereEveryValueComesFrom(t *testing.T) {
	p := rich(t)
	if diff := cmp.Diff(richDecisions(), p.Decisions()); diff != "" {
		t.Error(diff)
	}
}

func TestDecisionsSayWhatTheHeaderLeavesOut(t *testing.T) {
	p := shared()
	p.OmitKID = true
	want := []Decision{
		{"header.alg", "always ES256 (RFC 7518 section 3.4)", "", true},
		{"header.kid", "left out", "", false},
		{"header.typ", "left out", "", false},
		{"iat", "the time of minting less 1m, rounded down to a multiple of 30m", "", true},
	}
	if diff := cmp.Diff(want, p.Decisions()); diff != "" {
		t.Error(diff)
	}
	p.Backdate, p.Reuse = 0, Reuse{}
	if got := p.Decisions()[3].Rule; got != "the time of minting" {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	endless := signed()
	endless.MaxAge, endless.Reuse.Mode = 0, Never
	sharedExp := shared()
	sharedExp.Rules["exp"] = Rule{Computed: ExpireTime}
	sharedExp.DefaultTTL, sharedExp.MaxTTL, sharedExp.MaxAge, sharedExp.Reuse.Grid = time.Hour, 2*time.Hour, 0, 0
	for name, tt := range map[string]struct {
		profile Profile
		want    []string
	}{
		"long-lived": {rich(t), []string{
			"a token is valid for 5m unless the caller says otherwise, and for 9m50s at most",
			"exp - iat is 10m at most",
			"up to 1h where every item of scope is of a resource that App Store Connect gives such tokens for",
			"the same token is handed out until a third of its life is left",
		}},
		"plain": {jwt(), []string{
			"a token is valid for 5m unless the caller says otherwise, and for 1h at most",
			"the same token is handed out until a third of its life is left",
		}},
		"without exp": {signed(), []string{
			"a token has no exp",
			"a token is accepted for 1h from iat on",
			"the same token is handed out until a third of its life is left",
		}},
		"without an end": {endless, []string{"a token has no exp", "each token is for one use"}},
		"shared": {shared(), []string{
			"a token has no exp",
			"a token is accepted for 1h from iat on",
			"one token is shared by all callers",
			"it is not made anew within 20m",
			"all replicas change it together, every 30m",
		}},
		"shared with exp": {sharedExp, []string{
			"a token is valid for 1h",
			"one token is shared by all callers",
			"it is not made anew within 20m",
		}},
	} {
		if diff := cmp.Diff(tt.want, tt.profile.Limits()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWords(t *testing.T) {
	pattern, err := CompilePattern("a|b")
	if err != nil {
		t.Fatal(err)
	}
	preset := &CallerRule{Type: "string_or_list", MaxLength: 1024, MaxItems: 64, Pattern: pattern}
	for _, tt := range []struct {
		rule *CallerRule
		want string
	}{
		{&CallerRule{Type: "string", MaxLength: 8}, "a string, optional, up to 8 bytes"},
		{&CallerRule{Type: "string", MaxLength: 8, Required: true, Pattern: pattern}, "a string, required, matching a|b, up to 8 bytes"},
		{&CallerRule{Type: "integer", Min: new(int64(0))}, "an integer, optional, at least 0"},
		{&CallerRule{Type: "integer", Max: new(int64(-1))}, "an integer, optional, at most -1"},
		{preset, "a string or an array of strings, optional, matching a|b, up to 1024 bytes, up to 64 items"},
		// What a narrowed rule and its preset both say is said once.
		{&CallerRule{Type: "string_or_list", MaxLength: 1024, MaxItems: 64, Narrows: preset}, "a string or an array of strings, optional, up to 1024 bytes, up to 64 items, matching a|b"},
		{&CallerRule{Type: "string_list", MaxLength: 8, MaxItems: 64, Pattern: pattern, Narrows: preset}, "an array of strings, optional, matching a|b, up to 8 bytes, up to 64 items, up to 1024 bytes"},
		{&CallerRule{Type: "string", MaxLength: 8, Narrows: &CallerRule{Type: "string", MaxLength: 8, Narrows: &CallerRule{Type: "string", MaxLength: 8, Pattern: pattern}}}, "a string, optional, up to 8 bytes, matching a|b"},
	} {
		if got := tt.rule.Words(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	for _, check := range []string{
		CheckASCScope, CheckASCIndividualScope, CheckOrigin, CheckHTTPSOrigin, CheckHTTPSURL, CheckContact, CheckBase64JSON,
	} {
		if words := (&CallerRule{Type: "string", MaxLength: 8, Check: check}).Words(); len(words) < len("a string, optional, as , up to 8 bytes") {
			t.Errorf("%s is not in words: %s", check, words)
		}
	}
}

func TestExplainOfARefusedRequestListsEveryFaultAndNoClaim(t *testing.T) {
	p := rich(t)
	catalog := New([]Profile{p}, nil)
	req := Request{Claims: `{"level":9,"legacy":"hunter2","x":1}`, TTL: new(2 * time.Hour), MinRemaining: new(-time.Second)}
	got, err := catalog.Explain(grantFor(t, "rich"), req, now())
	if err != nil {
		t.Fatal(err)
	}
	want := []Violation{
		{"claims.level", "is more than 5"},
		{"claims.legacy", "is forbidden by the profile"},
		{"claims.x", "is not a claim of this profile"},
		{"claims.team", "is required"},
		{"ttl", "is over this profile's limit of 3600s"},
		{"min_remaining", "is negative"},
	}
	if diff := cmp.Diff(want, violations(t, got.Refusal)); diff != "" {
		t.Error(diff)
	}
	if got.Set.Payload() != nil || got.Set.Header() != nil || got.TTL != 0 {
		t.Errorf("refused, and shows %s of %v", got.Set.Payload(), got.TTL)
	}
	if slices.ContainsFunc(got.Decisions, func(d Decision) bool { return d.Present }) {
		t.Errorf("refused, and has claims: %+v", got.Decisions)
	}
	if len(got.Decisions) != len(richDecisions()) || !slices.Equal(got.Limits, p.Limits()) {
		t.Errorf("%d decisions, limits %q", len(got.Decisions), got.Limits)
	}
	if _, err := catalog.Prepare(grantFor(t, "rich"), req); err == nil || err.Error() != got.Refusal.Error() {
		t.Errorf("Prepare says %v and Explain %v", err, got.Refusal)
	}
}

func TestExplainShowsWhatWouldBeSigned(t *testing.T) {
	catalog, grant := New([]Profile{rich(t)}, constantly(7)), grantFor(t, "rich")
	req := Request{Claims: `{"team":"team-b","level":1,"scope":["GET /v1/ciProducts"]}`, TTL: new(30 * time.Minute)}
	got, err := catalog.Explain(grant, req, now())
	if err != nil || got.Refusal != nil {
		t.Fatal(err, got.Refusal)
	}
	set, err := catalog.Build(grant, req, now())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Set.Payload(), set.Payload()) || !bytes.Equal(got.Set.Header(), set.Header()) || got.Set.times != set.times {
		t.Errorf("shows %s %s %v and is %s %s %v", got.Set.Header(), got.Set.Payload(), got.Set.times, set.Header(), set.Payload(), set.times)
	}
	if got.TTL != 30*time.Minute {
		t.Errorf("ttl %v", got.TTL)
	}
	want := richDecisions()
	for i := range want {
		switch want[i].Name {
		case "level", "scope":
			want[i].Present = true
		}
	}
	if diff := cmp.Diff(want, got.Decisions); diff != "" {
		t.Error(diff)
	}
}

func TestExplainNeedsAGrantAndRandomness(t *testing.T) {
	var refusal *Refusal
	for name, tt := range map[string]struct {
		catalog *Catalog
		grant   policy.Grant
	}{
		"the zero grant":     {New([]Profile{rich(t)}, nil), policy.Grant{}},
		"of another profile": {New([]Profile{rich(t)}, nil), grantFor(t, "other")},
		"without randomness": {New([]Profile{rich(t)}, bytes.NewReader(nil)), grantFor(t, "rich")},
	} {
		got, err := tt.catalog.Explain(tt.grant, Request{Claims: `{"team":"team-a"}`}, now())
		if err == nil || errors.As(err, &refusal) || got.Refusal != nil || got.Decisions != nil || got.Limits != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
