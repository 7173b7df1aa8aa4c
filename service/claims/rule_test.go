package claims

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func pattern(t *testing.T, text string) *CallerRule {
	t.Helper()
	p, err := CompilePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return &CallerRule{Type: "string_or_list", MaxLength: 100, MaxItems: 3, Pattern: p}
}

func TestCallerRule(t *testing.T) {
	text := &CallerRule{Type: "string", MaxLength: 8}
	list := &CallerRule{Type: "string_list", MaxLength: 8, MaxItems: 2}
	either := &CallerRule{Type: "string_or_list", MaxLength: 8, MaxItems: 2, OneOf: []string{"a", "b"}}
	number := &CallerRule{Type: "integer", Min: new(int64(-1)), Max: new(int64(10))}
	boolean := &CallerRule{Type: "boolean"}
	narrowed := &CallerRule{Type: "string", MaxLength: 100, Narrows: text}
	for _, tt := range []struct {
		rule  *CallerRule
		value string
		want  string // empty accepts
	}{
		{text, `""`, ""},
		{text, `"12345678"`, ""},
		{text, `"1234ü78"`, ""},
		{text, `"12345ü78"`, "is longer than 8 bytes"},
		{text, `"a\u0000"`, "holds a control character"},
		{text, `"a\nb"`, "holds a control character"},
		{text, `"\u007f"`, "holds a control character"},
		{text, `"\u0085"`, "holds a control character"},
		{text, `1`, "is of type integer; the profile takes a string"},
		{text, `1.5`, "is of type number that is not an integer; the profile takes a string"},
		{text, `true`, "is of type boolean; the profile takes a string"},
		{text, `null`, "is of type null; the profile takes a string"},
		{text, `["a"]`, "is of type array of strings; the profile takes a string"},
		{text, `{}`, "is of type object; the profile takes a string"},

		{list, `["a","b"]`, ""},
		{list, `["a","b","c"]`, "has more than 2 items"},
		{list, `["a","a"]`, "item 1 stands twice"},
		{list, `["a","123456789"]`, "item 1 is longer than 8 bytes"},
		{list, `[]`, "is an empty list"},
		{list, `"a"`, "is of type string; the profile takes an array of strings"},
		{list, `[1]`, "is of type array; the profile takes an array of strings"},

		{either, `"a"`, ""},
		{either, `["b"]`, ""},
		{either, `"A"`, "is not among the profile's values"},
		{either, `["a","c"]`, "item 1 is not among the profile's values"},
		{either, `[null]`, "is of type array; the profile takes a string or an array of strings"},

		{number, `-1`, ""},
		{number, `10`, ""},
		{number, `-2`, "is less than -1"},
		{number, `11`, "is more than 10"},
		{number, `1.0`, "is of type number that is not an integer; the profile takes an integer"},
		{number, `1e0`, "is of type number that is not an integer; the profile takes an integer"},
		{number, `"1"`, "is of type string; the profile takes an integer"},
		{number, `true`, "is of type boolean; the profile takes an integer"},

		{boolean, `true`, ""},
		{boolean, `false`, ""},
		{boolean, `0`, "is of type integer; the profile takes a boolean"},
		{boolean, `"true"`, "is of type string; the profile takes a boolean"},

		{narrowed, `"12345678"`, ""},
		{narrowed, `"123456789"`, "is longer than 8 bytes"},
	} {
		t.Run(tt.rule.Type+" "+tt.value, func(t *testing.T) {
			err := tt.rule.CheckValue([]byte(tt.value))
			if got := fmt.Sprint(err); got != orNil(tt.want) {
				t.Errorf("%s, want %s", got, orNil(tt.want))
			}
		})
	}
}

func TestPatternMatchesTheWholeString(t *testing.T) {
	for _, tt := range []struct {
		pattern, value string
		ok             bool
	}{
		{"[a-z]+", `"abc"`, true},
		{"[a-z]+", `"abc1"`, false},
		{"[a-z]+", `"1abc"`, false},
		{"[a-z]+", `["abc","def"]`, true},
		{"[a-z]+", `["abc","1"]`, false},
		{"a|b", `"a"`, true},
		{"a|b", `"ab"`, false},
		{"a|b", `"xb"`, false},
		{"(?i)a", `"A"`, true},
		{"(?m)^a$", `"a"`, true},
		{"a$", `"a\n"`, false},
		{"(?s).*", `"x"`, true},
	} {
		if err := pattern(t, tt.pattern).CheckValue([]byte(tt.value)); (err == nil) != tt.ok {
			t.Errorf("%s on %s: %v", tt.pattern, tt.value, err)
		}
	}
}

func TestCompilePatternRefusesWhatWouldUndoTheAnchors(t *testing.T) {
	for _, p := range []string{`a)|(?:b`, `a)|.*|(b`, `)`, `(`, `a\`, `[`, `(?=a)`, `\Qa`, `x{1001}`, strings.Repeat("(", 2000)} {
		if re, err := CompilePattern(p); err == nil {
			t.Errorf("%.20s compiled to %v", p, re)
		}
	}
}

func TestUnknownCheckRefuses(t *testing.T) {
	rule := &CallerRule{Type: "string", MaxLength: 8, Check: "none_such"}
	if err := rule.CheckValue([]byte(`"a"`)); err == nil {
		t.Error("accepted")
	}
}

func TestRuleWithoutBoundsTakesNothing(t *testing.T) {
	if err := (&CallerRule{Type: "string"}).CheckValue([]byte(`"a"`)); err == nil {
		t.Error("accepted a string")
	}
	if err := (&CallerRule{Type: "string_list", MaxLength: 8}).CheckValue([]byte(`["a"]`)); err == nil {
		t.Error("accepted a list")
	}
	if err := (&CallerRule{MaxLength: 8}).CheckValue([]byte(`"a"`)); err == nil {
		t.Error("accepted without a type")
	}
}

func TestCheckValueRefusesWhatIsNotOneValue(t *testing.T) {
	rule := &CallerRule{Type: "integer"}
	for _, text := range []string{``, ` `, `1,"b":2`, `1}`, `1 2`, `01`, `1e999`, `9007199254740993`, `{"a":1,"a":1}`} {
		if err := rule.CheckValue([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "SCOPE", "https://example.org/role", "a", strings.Repeat("a", 128)} {
		if err := CheckName(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		"", "ISS", "Sub", "aUd", "EXP", "Nbf", "IAT", "jTI", "ｉｓｓ", "iss\x00", "iss ", " iss", "a b", "a\tb", "ä",
		"\u0131ss", "\xff", strings.Repeat("a", 129),
	} {
		if err := CheckName(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestCheckRule(t *testing.T) {
	fixed := func(text string) Rule { return Rule{Fixed: []byte(text)} }
	caller := func(typ string) Rule { return Rule{Caller: &CallerRule{Type: typ}} }
	computed := func(c Computed) Rule { return Rule{Computed: c} }
	for _, tt := range []struct {
		claim string
		rule  Rule
		want  string
	}{
		{"role", fixed(`{"a":[1,2.5,null]}`), ""},
		{"role", fixed(`null`), ""},
		{"role", fixed(`""`), ""},
		{"role", fixed(`9007199254740993`), "an integer is beyond 2^53-1 and would be read differently by different readers; send it as a string"},
		{"role", fixed(`{"a":1,"a":2}`), "a name stands twice in one object"},
		{"role", fixed(`1,"x":2`), "not one JSON value"},
		{"role", computed(ExpireTime), ""},
		{"role", caller("boolean"), ""},

		{"iss", fixed(`"x"`), ""},
		{"iss", fixed(`""`), "is empty"},
		{"sub", fixed(`42`), "sub cannot be of type integer (RFC 7519 section 4.1)"},
		{"sub", fixed(`["a"]`), "sub cannot be of type array of strings (RFC 7519 section 4.1)"},
		{"sub", caller("string"), ""},
		{"sub", caller("string_or_list"), "sub cannot be a string or an array of strings from the caller (RFC 7519 section 4.1)"},
		{"sub", computed(ExpireTime), "sub cannot be computed as expire_time (RFC 7519 section 4.1)"},
		{"jti", computed(UUID), ""},
		{"jti", caller("integer"), "jti cannot be an integer from the caller (RFC 7519 section 4.1)"},

		{"aud", fixed(`"a"`), ""},
		{"aud", fixed(`["a","b"]`), ""},
		{"aud", fixed(`[]`), "is empty"},
		{"aud", fixed(`["a",""]`), "is empty"},
		{"aud", fixed(`{"a":"b"}`), "aud cannot be of type object (RFC 7519 section 4.1)"},
		{"aud", caller("string_or_list"), ""},
		{"aud", caller("string_list"), ""},
		{"aud", computed(UUID), "aud cannot be computed as uuid (RFC 7519 section 4.1)"},

		{"nbf", computed(NotBefore), ""},
		{"nbf", computed(IssueTime), ""},
		{"nbf", computed(ExpireTime), "nbf cannot be computed as expire_time (RFC 7519 section 4.1)"},
		{"nbf", caller("integer"), ""},
		{"nbf", caller("string"), "nbf cannot be a string from the caller (RFC 7519 section 4.1)"},
		{"nbf", fixed(`1.5`), "nbf cannot be of type number that is not an integer (RFC 7519 section 4.1)"},
		{"nbf", fixed(`"1"`), "nbf cannot be of type string (RFC 7519 section 4.1)"},
		{"iat", computed(IssueTime), ""},
		{"iat", computed(ExpireTime), "iat cannot be computed as expire_time (RFC 7519 section 4.1)"},
		{"iat", fixed(`0`), "iat cannot be of type integer (RFC 7519 section 4.1)"},
		{"iat", caller("integer"), "iat cannot be an integer from the caller (RFC 7519 section 4.1)"},
		{"exp", computed(ExpireTime), ""},
		{"exp", computed(IssueTime), "exp cannot be computed as issue_time (RFC 7519 section 4.1)"},
		{"exp", fixed(fmt.Sprint(math.MaxInt32)), "exp cannot be of type integer (RFC 7519 section 4.1)"},
		{"exp", caller("integer"), "exp cannot be an integer from the caller (RFC 7519 section 4.1)"},
	} {
		if got := fmt.Sprint(CheckRule(tt.claim, tt.rule)); got != orNil(tt.want) {
			t.Errorf("%s %+v: %s, want %s", tt.claim, tt.rule, got, orNil(tt.want))
		}
	}
}
