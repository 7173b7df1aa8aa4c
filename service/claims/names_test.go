package claims

import (
	"fmt"
	"strings"
	"testing"
)

// The header says which key and algorithm verify a token: no profile may set
// what a verifier acts on.
func TestCheckHeaderRefusesRegisteredNames(t *testing.T) {
	rule := Rule{Fixed: []byte(`"x"`)}
	for _, name := range []string{
		"alg", "kid", "typ", "cty", "crit", "jku", "jwk", "x5u", "x5c", "x5t", "b64", "enc", "zip",
		"epk", "apu", "apv", "iv", "tag", "p2s", "p2c", "url", "ppt", "svt", "iss", "sub", "aud",
	} {
		want := fmt.Sprintf("header parameter %q has a meaning of its own and is not for a profile to set", name)
		if got := fmt.Sprint(CheckHeader(name, rule)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestCheckHeaderRefusesNamesThatCouldBeMistaken(t *testing.T) {
	for _, name := range []string{
		"", "Alg", "KID", "tYp", "x5t#S256", "bid ", " bid", "b id", "a-b", "a.b", "1a", "_a", "bid\n", "bid\x00", `a"b`,
		"аlg", "ａｌｇ", "al\u200dg", "\u0131ss", "é", "\xff", strings.Repeat("a", 33),
	} {
		want := fmt.Sprintf("header parameter %q is not a letter and up to 31 letters, digits and underscores, all lower case", name)
		if got := fmt.Sprint(CheckHeader(name, Rule{Computed: Nonce})); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	const (
		noString = `header parameter "bid" has to be a string that is not empty`
		noSource = `header parameter "bid" can be fixed, a template, or computed as uuid or nonce`
	)
	for _, name := range []string{"a", "bid", "nonce", "v_2", "x5", strings.Repeat("a", 32)} {
		if err := CheckHeader(name, Rule{Fixed: []byte(`"x"`)}); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		rule Rule
		want string
	}{
		{Rule{Fixed: []byte(`"x"`)}, ""},
		{Rule{Fixed: []byte(`" "`)}, ""},
		{Rule{Computed: UUID}, ""},
		{Rule{Computed: Nonce}, ""},
		{Rule{Fixed: []byte(`""`)}, noString},
		{Rule{Fixed: []byte(`null`)}, noString},
		{Rule{Fixed: []byte(`true`)}, noString},
		{Rule{Fixed: []byte(`1`)}, noString},
		{Rule{Fixed: []byte(`["x"]`)}, noString},
		{Rule{Fixed: []byte(`{"x":"y"}`)}, noString},
		{Rule{Fixed: []byte(`"x","alg":"none"`)}, "not one JSON value"},
		{Rule{Fixed: []byte(`"x`)}, "not valid JSON: it ends too early"},
		{Rule{Computed: IssueTime}, noSource},
		{Rule{Computed: ExpireTime}, noSource},
		{Rule{Computed: NotBefore}, noSource},
		{Rule{Computed: "now"}, noSource},
		{Rule{Caller: &CallerRule{Type: "string", MaxLength: 8}}, noSource},
		{Rule{Forbidden: true}, noSource},
		{Rule{}, noSource},
	} {
		if got := fmt.Sprint(CheckHeader("bid", tt.rule)); got != orNil(tt.want) {
			t.Errorf("%+v: %s, want %s", tt.rule, got, orNil(tt.want))
		}
	}
}

// Whatever a profile says of the registered times, a caller and a file never
// set them; forbidding one is for the configuration to judge.
func TestCheckRuleKeepsTheTimesComputed(t *testing.T) {
	for _, name := range []string{"iat", "exp"} {
		for _, rule := range []Rule{
			{Fixed: []byte("1")},
			{Fixed: []byte(`"1"`)},
			{Fixed: []byte("null")},
			{Caller: &CallerRule{Type: "integer"}},
			{Computed: UUID},
			{Computed: Nonce},
			{Computed: NotBefore},
			{},
		} {
			if err := CheckRule(name, rule); err == nil {
				t.Errorf("%s: %+v accepted", name, rule)
			}
		}
		if err := CheckRule(name, Rule{Forbidden: true}); err != nil {
			t.Error(err)
		}
	}
}
