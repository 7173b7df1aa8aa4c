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

// modes are those that a profile can have.
func modes() []Mode { return []Mode{Never, UntilRefresh, Shared} }

// A profile as the configuration lets one through, of names that clash, look
// alike or are plain, with any rule for each.
func anyProfile(t *rapid.T, mode Mode) Profile {
	p := Profile{
		Name: "p", Key: "k", Typ: rapid.SampledFrom([]string{"JWT", ""}).Draw(t, "typ"), OmitKID: rapid.Bool().Draw(t, "omit kid"),
		Header: map[string]Rule{}, Rules: map[string]Rule{"iat": {Computed: IssueTime}},
		Backdate: anySeconds(t, "backdate", 0, 300),
		Reuse:    Reuse{Mode: mode},
	}
	computed := []Computed{IssueTime, NotBefore, UUID, Nonce}
	var life time.Duration
	switch rapid.IntRange(0, 3).Draw(t, "end") {
	default:
		p.Rules["exp"] = Rule{Computed: ExpireTime}
		computed = append(computed, ExpireTime)
		anyLifetime(t, &p)
		life = p.DefaultTTL
	case 2:
		p.MaxAge = p.Backdate + anySeconds(t, "max age", 1, 4000)
		life = p.MaxAge - p.Backdate
	case 3:
		if mode != Never { // which needs an end
			p.Reuse.Mode = ""
		}
	}
	if most := int(life / 3 * 2 / time.Second); p.Reuse.Mode == Shared {
		p.Reuse.MinAge = anySeconds(t, "min age", 0, most)
		if most > 0 && rapid.Bool().Draw(t, "has a grid") {
			p.Reuse.Grid = anySeconds(t, "grid", max(1, int(p.Reuse.MinAge/time.Second)), most)
		}
	}
	for _, name := range []string{"iss", "sub", "aud", "nbf", "jti", "scope", "Role", "role", "<a&b>", `q"\`} {
		switch rule := rapid.IntRange(0, 4).Draw(t, name); {
		case rule == 0: // no rule
		case rule == 1:
			p.Rules[name] = Rule{Fixed: []byte(rapid.SampledFrom([]string{`"x"`, `["x","y"]`, `7`, `{"a":{"b":[null,1.5]}}`, `null`}).Draw(t, "fixed"))}
		case rule == 2:
			p.Rules[name] = Rule{Computed: rapid.SampledFrom(computed).Draw(t, "computed")}
		case rule == 3 || p.Reuse.Mode == Shared:
			p.Rules[name] = Rule{Forbidden: true}
		default:
			p.Rules[name] = Rule{Caller: anyCallerRule(t)}
		}
	}
	for _, name := range []string{"bid", "nonce", "v_2"} {
		if rule := rapid.SampledFrom([]Rule{{}, {Fixed: []byte(`"x\"\n"`)}, {Computed: UUID}, {Computed: Nonce}}).Draw(t, name); rule.Fixed != nil || rule.Random() {
			p.Header[name] = rule
		}
	}
	return p
}

// anyLifetime sets the times of a profile whose tokens have exp.
func anyLifetime(t *rapid.T, p *Profile) {
	most := 4000
	if rapid.Bool().Draw(t, "has max lifetime") {
		p.MaxLifetime = p.Backdate + anySeconds(t, "max lifetime", 1, 2000)
		most = int((p.MaxLifetime - p.Backdate) / time.Second)
	}
	p.DefaultTTL = anySeconds(t, "default ttl", 1, most)
	p.MaxTTL = max(p.DefaultTTL, anySeconds(t, "max ttl", 1, 4000))
}

func anySeconds(t *rapid.T, name string, least, most int) time.Duration {
	return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Second
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
		switch rapid.IntRange(0, 9).Draw(t, "given") {
		case 0:
		case 1, 2:
			parts = append(parts, quoted(name)+":"+anyValue(t))
		default:
			parts = append(parts, quoted(name)+":"+quoted(fitting(p.Rules[name].Caller.Type)))
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "stray") == 0 {
		name := rapid.SampledFrom([]string{"iss", "ISS", "exp", "iat", "nonce", "alg", "role", "sub", "ｓｕｂ", "sub\x00", "x"}).Draw(t, "name")
		parts = append(parts, quoted(name)+":"+anyValue(t))
	}
	return "{" + strings.Join(rapid.Permutation(parts).Draw(t, "order"), ",") + "}"
}

// anyRequest asks for anything, and often for what the profile allows.
func anyRequest(t *rapid.T, p Profile) Request {
	duration := rapid.OneOf(
		rapid.Map(rapid.Int64Range(-1, 5000), func(n int64) time.Duration { return time.Duration(n) * time.Second }),
		rapid.Map(rapid.Int64Range(0, 60), func(n int64) time.Duration { return time.Duration(n) * time.Second }),
		rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }),
	)
	req := Request{Claims: anyClaims(t, p)}
	if rapid.IntRange(0, 4).Draw(t, "asks for a ttl") == 0 {
		req.TTL = new(duration.Draw(t, "ttl"))
	}
	if rapid.IntRange(0, 4).Draw(t, "asks for min_remaining") == 0 {
		req.MinRemaining = new(duration.Draw(t, "min_remaining"))
	}
	return req
}

// For any profile and any request, Prepare refuses, or what At emits obeys every
// rule of the profile, judged here with the standard library's decoder.
func TestAnyRequestIsRefusedOrObeysEveryRule(t *testing.T) {
	grant := grantFor(t, "p")
	for _, mode := range modes() {
		t.Run(string(mode), func(t *testing.T) {
			made := 0
			rapid.Check(t, func(t *rapid.T) {
				p := anyProfile(t, mode)
				req := anyRequest(t, p)
				once := func() (Set, error) {
					return New([]Profile{p}, constantly(7)).Build(grant, req, now())
				}
				set, err := once()
				again, errAgain := once()
				if fmt.Sprint(err) != fmt.Sprint(errAgain) || !bytes.Equal(set.Header(), again.Header()) || !bytes.Equal(set.Payload(), again.Payload()) {
					t.Fatalf("not deterministic: %s, %v and %s, %v", set.Payload(), err, again.Payload(), errAgain)
				}
				if err != nil {
					if set.Payload() != nil || set.Header() != nil {
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
		})
	}
}

// constantly is randomness that is always the same byte.
type constantly byte

func (c constantly) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

// objectOf reads an object and refuses duplicate names, which the standard
// decoder does not do and go-jose's does.
func objectOf(t *rapid.T, text []byte) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	var strict map[string]josejson.RawMessage
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := josejson.Unmarshal(text, &strict); err != nil || len(strict) != len(out) {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func obeys(t *rapid.T, p Profile, req Request, set Set) {
	given := map[string]json.RawMessage{}
	if req.Claims != "" {
		if err := json.Unmarshal([]byte(req.Claims), &given); err != nil {
			t.Fatal(err)
		}
	}
	for name := range given {
		if p.Rules[name].Caller == nil {
			t.Fatalf("took %q from the caller", name)
		}
	}
	obeysRules(t, p.Rules, given, objectOf(t, set.Payload()), set)
	header := objectOf(t, fmt.Appendf(nil, `{"alg":"ES256"%s}`, set.Header()))
	delete(header, "alg")
	obeysRules(t, p.Header, nil, header, set)
	if set.Typ() != p.Typ || set.OmitKID() != p.OmitKID || set.Key() != p.Key {
		t.Fatalf("typ %q, omits kid %t, key %q", set.Typ(), set.OmitKID(), set.Key())
	}
	obeysTimes(t, p, req, set)
}

func obeysRules(t *rapid.T, rules map[string]Rule, given, out map[string]json.RawMessage, set Set) {
	for name := range out {
		if _, ok := rules[name]; !ok {
			t.Fatalf("emits %q, which has no rule", name)
		}
	}
	for name, rule := range rules {
		value, there := out[name]
		switch {
		case rule.Fixed != nil:
			if !bytes.Equal(value, rule.Fixed) {
				t.Fatalf("fixed %q is %s", name, value)
			}
		case rule.Forbidden:
			if there {
				t.Fatalf("forbidden %q is %s", name, value)
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
}

// obeysTimes judges a set's times in whole seconds since 1970.
func obeysTimes(t *rapid.T, p Profile, req Request, set Set) {
	whole := func(d time.Duration) int64 { return int64(d / time.Second) }
	at, iat, backdate, grid := now().Unix(), set.IssueTime().Unix(), whole(p.Backdate), whole(p.Reuse.Grid)
	if latest := at - backdate; grid == 0 && iat != latest || grid > 0 && (iat%grid != 0 || iat > latest || iat <= latest-grid) {
		t.Fatalf("iat is %d, %d before now, with a backdate of %d and a grid of %d", iat, at-iat, backdate, grid)
	}
	made := iat + backdate // the moment that all times count from
	var life time.Duration
	switch {
	case p.Expires():
		life = p.DefaultTTL
		if req.TTL != nil {
			life = *req.TTL
		}
		exp := set.ExpireTime().Unix()
		if exp != made+whole(life) || exp <= at || exp-at > whole(p.MaxTTL) || p.MaxLifetime > 0 && exp-iat > whole(p.MaxLifetime) {
			t.Fatalf("exp is %d ahead, exp - iat is %d, with a ttl of %v", exp-at, exp-iat, life)
		}
		if !set.EndTime().Equal(set.ExpireTime()) {
			t.Fatalf("ends at %v and expires at %v", set.EndTime(), set.ExpireTime())
		}
	case p.MaxAge > 0:
		life = p.MaxAge - p.Backdate
		if set.EndTime().Unix() != iat+whole(p.MaxAge) || set.EndTime().Unix() <= at {
			t.Fatalf("ends at %v", set.EndTime())
		}
	case !set.EndTime().IsZero():
		t.Fatalf("ends at %v, which nobody said", set.EndTime())
	}
	if !p.Expires() && !set.ExpireTime().IsZero() {
		t.Fatalf("expires at %v without exp", set.ExpireTime())
	}
	refresh, last := set.RefreshTime(), set.LastHandout()
	if life == 0 || p.Reuse.Mode == "" || p.Reuse.Mode == Never {
		if !refresh.IsZero() || !last.IsZero() {
			t.Fatalf("for one use, and to be refreshed at %v and handed out until %v", refresh, last)
		}
		return
	}
	want := last
	if grid > 0 {
		want = time.Unix(made+grid, 0)
	}
	if set.EndTime().Sub(last) != life/3 || !refresh.Equal(want) || refresh.After(last) || refresh.Before(now().Truncate(time.Second)) {
		t.Fatalf("to be refreshed at %v, handed out until %v, ends at %v", refresh, last, set.EndTime())
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
	case Nonce:
		if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).Match(value) {
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

// fitting is a value that every caller rule of a type accepts.
func fitting(typ string) any {
	switch typ {
	case "string_list":
		return []string{"a"}
	case "integer":
		return -5
	case "boolean":
		return false
	}
	return "a"
}

// A request that keeps all rules is never refused.
func TestConformingRequestIsAccepted(t *testing.T) {
	grant := grantFor(t, "p")
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile(t, rapid.SampledFrom(modes()).Draw(t, "mode"))
		claims := map[string]any{}
		for name, rule := range p.Rules {
			if rule.Caller != nil {
				claims[name] = fitting(rule.Caller.Type)
			}
		}
		req := Request{Claims: quoted(claims)}
		life := p.MaxAge - p.Backdate
		if p.Expires() {
			life = p.DefaultTTL
			if p.Reuse.Mode != Shared {
				req.TTL = &p.DefaultTTL
			}
		}
		if p.Expires() || p.MaxAge > 0 {
			promise := life - max(p.Reuse.MinAge, p.Reuse.Grid)
			req.MinRemaining = new(time.Duration(rapid.Int64Range(0, int64(promise)).Draw(t, "min_remaining")))
		}
		draft, err := New([]Profile{p}, nil).Prepare(grant, req)
		if err != nil {
			t.Fatal(err)
		}
		if least := draft.MinRemaining(); req.MinRemaining != nil && least != max(*req.MinRemaining, life/3) {
			t.Fatalf("at least %v is left of %v", least, life)
		}
		set, err := draft.At(now())
		if err != nil {
			t.Fatal(err)
		}
		obeys(t, p, req, set)
	})
}
