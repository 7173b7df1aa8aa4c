package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
)

// inWords gives a rule as it is told to people.
func inWords(rule claims.Rule) string {
	switch {
	case rule.Fixed != nil:
		return string(rule.Fixed)
	case rule.Forbidden:
		return "forbidden"
	case rule.Caller != nil:
		return rule.Caller.Words()
	}
	return string(rule.Computed)
}

func allInWords(rules map[string]claims.Rule) map[string]string {
	out := map[string]string{}
	for name, rule := range rules {
		out[name] = inWords(rule)
	}
	return out
}

func TestLanguageBecomesRules(t *testing.T) {
	const issuer = `"57246542-96fe-1a63-e053-0824d011072a"`
	want := map[string]struct{ Claims, Header map[string]string }{
		"own": {
			map[string]string{
				"iat": "issue_time", "exp": "expire_time", "iss": `"https://issuer.example/{a}"`, "aud": `"a"`,
				"sub": `"https://issuer.example/{a}|a|key{1}|"`, "legacy": "forbidden",
			},
			map[string]string{"v": `"2"`, "sub_hint": `"https://issuer.example/{a}|a|key{1}|"`},
		},
		"own-shared": {map[string]string{"iat": "issue_time", "exp": "expire_time", "jti": "uuid"}, nil},
		"aged":       {map[string]string{"iat": "issue_time", "aud": `"a"`}, nil},
		"aged-nonce": {map[string]string{"iat": "issue_time"}, map[string]string{"nonce": "nonce"}},
		"asc": {map[string]string{
			"iat": "issue_time", "exp": "expire_time", "iss": issuer, "aud": `"appstoreconnect-v1"`, "scope": "forbidden",
		}, nil},
		"server": {map[string]string{
			"iat": "issue_time", "exp": "expire_time", "iss": issuer, "aud": `"appstoreconnect-v1"`, "bid": `"com.example.app"`,
		}, nil},
		"offer": {map[string]string{
			"iat": "issue_time", "iss": issuer, "aud": `"promotional-offer"`, "bid": `"com.example.app"`, "nonce": "uuid",
			"productId":       "a string, required, one of monthly | yearly, up to 1024 bytes, matching [!-~]+",
			"offerIdentifier": "a string, required, matching [!-~]+, up to 1024 bytes",
			"transactionId":   "forbidden",
		}, nil},
		"push":        {map[string]string{"iat": "issue_time", "iss": `"ABCDE12345"`}, nil},
		"push-slower": {map[string]string{"iat": "issue_time", "iss": `"ABCDE12345"`}, nil},
		"web-push": {map[string]string{
			"exp": "expire_time", "sub": `"mailto:ops@example.org"`,
			"aud": "a string, required, as an origin, https://host[:port], up to 1024 bytes",
		}, nil},
		"coinbase": {
			map[string]string{
				"iat": "issue_time", "exp": "expire_time", "nbf": "not_before", "iss": `"cdp"`, "sub": `"organizations/1/apiKeys/2"`,
				"uris": "an array of strings, optional, matching (?:GET|HEAD|POST|PUT|PATCH|DELETE) [a-z0-9.-]+/[!-~]*, up to 1024 bytes, up to 64 items",
			},
			map[string]string{"nonce": "nonce"},
		},
		"oauth": {map[string]string{
			"iat": "issue_time", "exp": "expire_time", "jti": "uuid", "sub": `"client-1"`, "iss": `"client-1"`, "aud": `"https://login.example.org/token"`,
		}, nil},
	}
	got := map[string]struct{ Claims, Header map[string]string }{}
	for _, p := range loadGood(t, "language").ClaimProfiles {
		got[p.Name] = struct{ Claims, Header map[string]string }{allInWords(p.Rules), allInWords(p.Header)}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestLanguageBecomesTimesAndReuse(t *testing.T) {
	type limits struct {
		Typ                                               string
		OmitKID, AnswerPublicKey                          bool
		DefaultTTL, MaxTTL, Backdate, MaxLifetime, MaxAge time.Duration
		Reuse                                             claims.Reuse
	}
	const m, h = time.Minute, time.Hour
	again, once := claims.Reuse{Mode: claims.UntilRefresh}, claims.Reuse{Mode: claims.Never}
	want := map[string]limits{
		// A max_lifetime less the backdate is the most of a ttl, and holds the default down.
		"own":        {Typ: "JWT", DefaultTTL: 5 * m, MaxTTL: 9 * m, Backdate: m, MaxLifetime: 10 * m, Reuse: again},
		"own-shared": {OmitKID: true, DefaultTTL: 30 * m, MaxTTL: h, Reuse: claims.Reuse{Mode: claims.Shared, MinAge: 5 * m, Grid: 20 * m}},
		"aged":       {Typ: "JWT", MaxAge: h, Reuse: again},
		// What is random is for one use.
		"aged-nonce":  {Typ: "dpop+jwt", MaxAge: 5 * m, Reuse: once},
		"asc":         {Typ: "JWT", DefaultTTL: 4 * m, MaxTTL: 4 * m, Backdate: m, MaxLifetime: 5 * m, Reuse: once},
		"server":      {Typ: "JWT", DefaultTTL: 5 * m, MaxTTL: h - 30*time.Second, Backdate: 30 * time.Second, MaxLifetime: h, Reuse: again},
		"offer":       {Typ: "JWT", Backdate: 30 * time.Second, Reuse: once},
		"push":        {Backdate: m, MaxAge: h, Reuse: claims.Reuse{Mode: claims.Shared, MinAge: 20 * m, Grid: 30 * m}},
		"push-slower": {Backdate: m, MaxAge: 55 * m, Reuse: claims.Reuse{Mode: claims.Shared, MinAge: 25 * m}},
		"web-push":    {Typ: "JWT", OmitKID: true, AnswerPublicKey: true, DefaultTTL: h, MaxTTL: h, Reuse: again},
		"coinbase":    {DefaultTTL: 2 * m, MaxTTL: 2 * m, MaxLifetime: 2 * m, Reuse: once},
		"oauth":       {Typ: "JWT", DefaultTTL: 5 * m, MaxTTL: h, Reuse: once},
	}
	got := map[string]limits{}
	for _, p := range loadGood(t, "language").ClaimProfiles {
		got[p.Name] = limits{p.Typ, p.OmitKID, p.AnswerPublicKey, p.DefaultTTL, p.MaxTTL, p.Backdate, p.MaxLifetime, p.MaxAge, p.Reuse}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// parseWith parses profiles under presets of a test's own.
func parseWith(presets map[string]*configv1.Preset, profiles string) (*Config, error) {
	c := &Config{Config: &configv1.Config{}}
	check := &checker{config: c, presets: presets, checkURI: checkURI}
	return c, decode("test.yaml", []byte(`listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {k: {backend: files, id: k.pem, kid: k}}
profiles:
`+profiles), c.Config, check.check)
}

func presetOf(t *testing.T, yaml string) *configv1.Preset {
	t.Helper()
	preset := &configv1.Preset{}
	if err := decode("preset.yaml", []byte("sources: [\"https://example.org\"]\n"+yaml), preset, nil); err != nil {
		t.Fatal(err)
	}
	return preset
}

// What no preset of ours does yet, but a preset may.
func TestProfilesOnlyNarrowAPreset(t *testing.T) {
	presets := map[string]*configv1.Preset{
		"open": presetOf(t, `open: true
reuse_is_open: true
profile:
  description: d
  claims: {iat: {computed: issue_time}, either: {caller: {type: string_or_list}}, sub: {template: "{kid}"}}
  header: {v: {fixed: "1"}, t: {template: "{kid}"}}
`),
	}
	for _, tt := range []struct{ profile, want string }{
		{`claims: {either: {caller: {type: string_list}}}`, ""},
		{`claims: {either: {caller: {type: integer}}}`, "profiles.p.claims.either.caller.type: the preset takes string_or_list here"},
		{`claims: {either: {caller: {type: boolean}}}`, "profiles.p.claims.either.caller.type: the preset takes string_or_list here"},
		{`claims: {sub: {template: x}}`, "profiles.p.claims.sub: the preset sets this claim itself; remove it here"},
		{`header: {w: {fixed: "1"}}`, ""},
		{`header: {v: {fixed: "2"}}`, "profiles.p.header.v: the preset sets this parameter itself; remove it here"},
		{`header: {v: {template: "{kid}"}}`, "profiles.p.header.v: the preset sets this parameter itself; remove it here"},
		{`header: {t: {fixed: "2"}}`, "profiles.p.header.t: the preset sets this parameter itself; remove it here"},
		{`reuse: {mode: never}`, ""},
		{`reuse: {mode: until_refresh}`, "profiles.p.reuse.mode: is until_refresh, and this profile's tokens have no end; choose never"},
		{`reuse: {mode: shared}`, "profiles.p.reuse.mode: is shared, and this profile's tokens have no end; choose never"},
	} {
		_, err := parseWith(presets, "  p: {key: k, preset: open, "+tt.profile+"}\n")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %s", tt.profile, err, tt.want)
		}
	}
	c, err := parseWith(presets, "  p: {key: k, preset: open}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ClaimProfiles[0].Reuse.Mode; got != claims.Never {
		t.Errorf("tokens without an end are reused: %s", got)
	}
}

// A template holds the fixed values as they are, whatever stands in them, and
// does not look into them again.
func TestTemplatesHoldFixedValuesAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]string{"kid": "k"}
		var profile strings.Builder
		profile.WriteString("  p: {key: k, claims: {iat: {computed: issue_time}, exp: {computed: expire_time}")
		for _, name := range []string{"a", "b-c", "https://x.example/y"} {
			values[name] = rapid.SampledFrom([]string{"", "x", "{a}", "{kid}", "{", "}", `"`, `\`, "\n", "$1", "{{a}}", "é"}).Draw(t, name)
			fmt.Fprintf(&profile, ", %q: {fixed: %q}", name, values[name])
		}
		names := []string{"kid", "a", "b-c", "https://x.example/y"}
		var template, want strings.Builder
		for range rapid.IntRange(1, 5).Draw(t, "parts") {
			if part := rapid.SampledFrom([]string{"", ":", "$1", `\1`, "é", `"`}).Draw(t, "text"); part != "" {
				template.WriteString(part)
				want.WriteString(part)
			}
			name := rapid.SampledFrom(names).Draw(t, "name")
			template.WriteString("{" + name + "}")
			want.WriteString(values[name])
		}
		fmt.Fprintf(&profile, ", filled: {template: %q}}}\n", template.String())
		c, err := parseWith(nil, profile.String())
		if err != nil {
			t.Fatalf("%s: %v", profile.String(), err)
		}
		if got := c.ClaimProfiles[0].Rules["filled"]; inWords(got) != inWords(claims.Rule{Fixed: jsonString(want.String())}) {
			t.Fatalf("%s is %s, want %q", template.String(), got.Fixed, want.String())
		}
	})
}

func jsonString(text string) []byte {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch r {
		case '"', '\\':
			b.WriteString(`\` + string(r))
		case '\n':
			b.WriteString(`\n`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return []byte(b.String())
}

// Each bad file shows all that it is for: no message of one profile keeps
// another's from being said.
func TestEveryProfileOfABadFileIsSpokenOf(t *testing.T) {
	for _, name := range []string{"no-preset", "templates", "header", "reuse", "reuse-modes", "variants", "key-missing"} {
		text, err := os.ReadFile("testdata/" + name + ".bad.txt")
		if err != nil {
			t.Fatal(err)
		}
		yaml, err := os.ReadFile("testdata/" + name + ".bad.yaml")
		if err != nil {
			t.Fatal(err)
		}
		_, profiles, _ := strings.Cut(string(yaml), "\nprofiles:\n")
		spoken := strings.FieldsFunc(string(text), func(r rune) bool { return r == '.' || r == ' ' })
		for line := range strings.Lines(profiles) {
			if profile, ok := strings.CutPrefix(line, "  "); ok && profile[0] != ' ' {
				profile, _, _ = strings.Cut(profile, ":")
				if !slices.Contains(spoken, profile) {
					t.Errorf("%s: nothing is said of %s", name, profile)
				}
			}
		}
	}
}
