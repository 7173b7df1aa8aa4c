package claims

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	josejson "github.com/go-jose/go-jose/v4/json"
	"pgregory.net/rapid"
)

// A profile from names that clash, look alike or are plain, with any rule for
// each.
func anyProfile(t *rapid.T) Profile {
	p := Profile{
		Name: "p", Key: "k", Typ: "JWT", Rules: map[string]Rule{},
		Backdate: time.Duration(rapid.IntRange(0, 300).Draw(t, "backdate")) * time.Second,
	}
	if rapid.Bool().Draw(t, "has max lifetime") {
		p.MaxLifetime = p.Backdate + time.Duration(rapid.IntRange(1, 2000).Draw(t, "max lifetime"))*time.Second
	}
	most := 4000
	if p.MaxLifetime > 0 {
		most = int((p.MaxLifetime - p.Backdate) / time.Second)
	}
	p.DefaultTTL = time.Duration(rapid.IntRange(1, most).Draw(t, "default ttl")) * time.Second
	p.MaxTTL = max(p.DefaultTTL, time.Duration(rapid.IntRange(1, 4000).Draw(t, "max ttl"))*time.Second)
	for _, name := range []string{"iss", "sub", "aud", "nbf", "jti", "scope", "Role", "role", "<a&b>", `q"\`} {
		switch rapid.IntRange(0, 3).Draw(t, name) {
		case 0: // no rule
		case 1:
			p.Rules[name] = Rule{Fixed: []byte(rapid.SampledFrom([]string{`"x"`, `["x","y"]`, `7`, `{"a":{"b":[null,1.5]}}`, `null`}).Draw(t, "fixed"))}
		case 2:
			p.Rules[name] = Rule{Computed: rapid.SampledFrom([]Computed{IssueTime, ExpireTime, NotBefore, UUID}).Draw(t, "computed")}
		case 3:
			p.Rules[name] = Rule{Caller: anyCallerRule(t)}
		}
	}
	p.Rules["iat"], p.Rules["exp"] = Rule{Computed: IssueTime}, Rule{Computed: ExpireTime}
	return p
}

func anyCallerRule(t *rapid.T) *CallerRule {
	rule := &CallerRule{
		Type:      rapid.SampledFrom([]string{"string", "integer", "boolean", "string_list", "string_or_list"}).Draw(t, "type"),
		Required:  rapid.Bool().Draw(t, "required"),
		MaxLength: rapid.IntRange(1, 12).Draw(t, "max length"),
		MaxItems:  rapid.IntRange(1, 4).Draw(t, "max items"),
	}
	switch rapid.IntRange(0, 3).Draw(t, "condition") {
	case 0:
		rule.Pattern, _ = CompilePattern("[a-z]*")
	case 1:
		rule.OneOf = []string{"a", "b", "cc"}
	case 2:
		rule.Min, rule.Max = new(int64(-5)), new(rapid.Int64Range(-5, 100).Draw(t, "max"))
	}
	return rule
}

// anyValue is JSON of any type, often one that a rule accepts.
func anyValue(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{`"a"`, `"b"`, `"cc"`, `"\u0061"`, `["a"]`, `["a","b"]`, `["b","b"]`, `[]`, `true`, `false`, `0`, `-5`, `7`, `-0`, `1.5`, `1e2`, `null`, `{}`, `{"a":[1]}`, `9007199254740993`, `"\ud800"`}),
		rapid.Map(rapid.String(), quoted),
		rapid.Map(rapid.SliceOfN(rapid.StringMatching("[a-c]{0,3}"), 0, 5), quoted),
		rapid.Map(rapid.Int64(), quoted),
	).Draw(t, "value")
}

func quoted[V any](v V) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// anyClaims is a JSON object, most of whose names are the caller's to set, or
// any text at all.
func anyClaims(t *rapid.T, p Profile) string {
	if rapid.IntRange(0, 19).Draw(t, "junk") == 0 {
		return rapid.String().Draw(t, "text")
	}
	var names []string
	for name, rule := range p.Rules {
		if rule.Caller != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		if rapid.IntRange(0, 4).Draw(t, "given") > 0 {
			parts = append(parts, quoted(name)+":"+anyValue(t))
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "stray") == 0 {
		name := rapid.SampledFrom([]string{"iss", "ISS", "exp", "iat", "alg", "role", "sub", "ｓｕｂ", "sub\x00", "x"}).Draw(t, "name")
		parts = append(parts, quoted(name)+":"+anyValue(t))
	}
	return "{" + strings.Join(rapid.Permutation(parts).Draw(t, "order"), ",") + "}"
}

// For any profile and any request, Build refuses, or what it emits obeys every
// rule of the profile, judged here with the standard library's decoder.
func TestAnyRequestIsRefusedOrObeysEveryRule(t *testing.T) {
	grant := grantFor(t, "p")
	made := 0
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile(t)
		req := Request{Claims: anyClaims(t, p)}
		if rapid.Bool().Draw(t, "asks for a ttl") {
			ttl := rapid.OneOf(
				rapid.Map(rapid.Int64Range(-1, 5000), func(n int64) time.Duration { return time.Duration(n) * time.Second }),
				rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }),
			).Draw(t, "ttl")
			req.TTL = &ttl
		}
		once := func() (Set, error) {
			return New([]Profile{p}, bytes.NewReader(bytes.Repeat([]byte{7}, 160))).Build(grant, req, now())
		}
		set, err := once()
		again, errAgain := once()
		if fmt.Sprint(err) != fmt.Sprint(errAgain) || !bytes.Equal(set.Payload(), again.Payload()) {
			t.Fatalf("not deterministic: %s, %v and %s, %v", set.Payload(), err, again.Payload(), errAgain)
		}
		if err != nil {
			if set.Payload() != nil {
				t.Fatalf("refused and emitted %s", set.Payload())
			}
			return
		}
		made++
		obeys(t, p, req, set)
	})
	if made == 0 {
		t.Error("every request was refused")
	}
}

func obeys(t *rapid.T, p Profile, req Request, set Set) {
	// go-jose's decoder refuses duplicate names, which the standard one does not.
	var out map[string]json.RawMessage
	var strict map[string]josejson.RawMessage
	if err := json.Unmarshal(set.Payload(), &out); err != nil {
		t.Fatalf("%s: %v", set.Payload(), err)
	}
	if err := josejson.Unmarshal(set.Payload(), &strict); err != nil || len(strict) != len(out) {
		t.Fatalf("%s: %v", set.Payload(), err)
	}
	given := map[string]json.RawMessage{}
	if req.Claims != "" {
		if err := json.Unmarshal([]byte(req.Claims), &given); err != nil {
			t.Fatal(err)
		}
	}
	for name := range out {
		if _, ok := p.Rules[name]; !ok {
			t.Fatalf("emits %q, which has no rule", name)
		}
	}
	for name := range given {
		if p.Rules[name].Caller == nil {
			t.Fatalf("took %q from the caller", name)
		}
	}
	for name, rule := range p.Rules {
		value, there := out[name]
		switch {
		case rule.Fixed != nil:
			if !bytes.Equal(value, rule.Fixed) {
				t.Fatalf("fixed %q is %s", name, value)
			}
		case rule.Caller == nil:
			computedAsSaid(t, name, rule.Computed, value, set)
		case !there:
			if _, asked := given[name]; asked || rule.Caller.Required {
				t.Fatalf("%q is left out", name)
			}
		default:
			if !sameJSON(t, given[name], value) {
				t.Fatalf("%q is %s and was sent as %s", name, value, given[name])
			}
			accepted(t, name, rule.Caller, value)
		}
	}
	exp, iat, at := set.ExpireTime().Unix(), set.IssueTime().Unix(), now().Unix()
	ttl, life := time.Duration(exp-at)*time.Second, time.Duration(exp-iat)*time.Second
	if at-iat != int64(p.Backdate/time.Second) || ttl <= 0 || ttl > p.MaxTTL || (p.MaxLifetime > 0 && life > p.MaxLifetime) {
		t.Fatalf("ttl %v, lifetime %v", ttl, life)
	}
	if want := p.DefaultTTL; req.TTL == nil && ttl != want || req.TTL != nil && ttl != *req.TTL {
		t.Fatalf("ttl %v is not the one asked for", ttl)
	}
	if refresh := set.RefreshTime(); refresh.After(set.ExpireTime()) || refresh.Before(now().Truncate(time.Second)) {
		t.Fatalf("to be refreshed at %v", refresh)
	}
}

func computedAsSaid(t *rapid.T, name string, c Computed, value []byte, set Set) {
	var want string
	switch c {
	case ExpireTime:
		want = fmt.Sprint(set.ExpireTime().Unix())
	case IssueTime, NotBefore:
		want = fmt.Sprint(set.IssueTime().Unix())
	case UUID:
		if !regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`).Match(value) {
			t.Fatalf("%q is %s", name, value)
		}
		return
	}
	if string(value) != want {
		t.Fatalf("%q is %s, want %s", name, value, want)
	}
}

func accepted(t *rapid.T, name string, rule *CallerRule, value []byte) {
	var strs []string
	var one string
	var number json.Number
	var boolean bool
	switch {
	case bytes.Equal(value, []byte("null")):
		t.Fatalf("%q is null", name)
	case json.Unmarshal(value, &one) == nil && (rule.Type == "string" || rule.Type == "string_or_list"):
		strs = []string{one}
	case json.Unmarshal(value, &strs) == nil && (rule.Type == "string_list" || rule.Type == "string_or_list"):
		if len(strs) == 0 || len(strs) > rule.MaxItems {
			t.Fatalf("%q has %d items", name, len(strs))
		}
	case json.Unmarshal(value, &number) == nil && rule.Type == "integer":
		n, err := number.Int64()
		if err != nil || rule.Min != nil && n < *rule.Min || rule.Max != nil && n > *rule.Max {
			t.Fatalf("%q is %s", name, value)
		}
	case json.Unmarshal(value, &boolean) == nil && rule.Type == "boolean":
	default:
		t.Fatalf("%q is %s, not of type %s", name, value, rule.Type)
	}
	seen := map[string]bool{}
	for _, s := range strs {
		matches := rule.Pattern == nil || regexp.MustCompile("^[a-z]*$").MatchString(s)
		if len(s) > rule.MaxLength || !matches || seen[s] || rule.OneOf != nil && !slices.Contains(rule.OneOf, s) {
			t.Fatalf("%q is %s", name, value)
		}
		seen[s] = true
	}
}

// sameJSON says whether two texts are the same value; numbers as they are read
// exactly.
func sameJSON(t *rapid.T, a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		t.Fatalf("%s and %s", a, b)
	}
	return fmt.Sprintf("%T %#v", x, x) == fmt.Sprintf("%T %#v", y, y) || x == 0.0 && y == 0.0
}

// A request that keeps all rules is never refused.
func TestConformingRequestIsAccepted(t *testing.T) {
	grant := grantFor(t, "p")
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile(t)
		claims := map[string]any{}
		for name, rule := range p.Rules {
			if rule.Caller == nil {
				continue
			}
			switch rule.Caller.Type {
			case "string", "string_or_list":
				claims[name] = "a"
			case "string_list":
				claims[name] = []string{"a"}
			case "integer":
				claims[name] = -5
			case "boolean":
				claims[name] = false
			}
		}
		set, err := New([]Profile{p}, nil).Build(grant, Request{Claims: quoted(claims), TTL: &p.DefaultTTL}, now())
		if err != nil {
			t.Fatal(err)
		}
		obeys(t, p, Request{Claims: quoted(claims), TTL: &p.DefaultTTL}, set)
	})
}
