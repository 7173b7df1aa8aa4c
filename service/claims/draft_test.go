package claims

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// tokenOf is all of a token but the signature.
func tokenOf(t *rapid.T, d Draft) string {
	set, err := d.At(now())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s %v", set.Header(), set.Payload(), set.times)
}

// written writes claims as one of the many texts that mean the same.
func written(t *rapid.T, claims map[string]any) string {
	blank := func() string { return rapid.SampledFrom([]string{"", "", " ", "\r\n\t"}).Draw(t, "blank") }
	var text func(v any) string
	text = func(v any) string {
		switch v := v.(type) {
		case string:
			if !rapid.Bool().Draw(t, "escaped") {
				return quoted(v)
			}
			var b strings.Builder
			for _, r := range v { // which are ASCII
				fmt.Fprintf(&b, `\u%04X`, r)
			}
			return `"` + b.String() + `"`
		case []string:
			var items []string
			for _, item := range v {
				items = append(items, blank()+text(item)+blank())
			}
			return "[" + strings.Join(items, ",") + "]"
		case int:
			if v == 0 && rapid.Bool().Draw(t, "minus zero") {
				return "-0"
			}
		}
		return quoted(v)
	}
	var parts []string
	for _, name := range rapid.Permutation(slices.Sorted(maps.Keys(claims))).Draw(t, "order") {
		parts = append(parts, blank()+text(name)+blank()+":"+blank()+text(claims[name])+blank())
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// Two requests to a profile share an Identity exactly when their tokens, made
// at one time of the same randomness, are the same to the byte.
func TestIdentityIsTheSameForTheSameTokens(t *testing.T) {
	p := jwt()
	p.Rules["sub"].Caller.Required = false
	p.Header = map[string]Rule{"nonce": {Computed: Nonce}}
	catalog, grant := New([]Profile{p}, constantly(7)), grantFor(t, p.Name)
	values := map[string][]any{
		"sub":   {"a", "b", "", `a","level":1,"x":"`},
		"level": {0, 1, -1},
		"admin": {true, false},
		"roles": {"a", "b", []string{"a"}, []string{"a", "b"}, []string{"b", "a"}, []string{`a","b`}},
	}
	draftOf := func(t *rapid.T) Draft {
		claims := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if rapid.IntRange(0, 3).Draw(t, name) == 0 {
				claims[name] = rapid.SampledFrom(values[name]).Draw(t, "value")
			}
		}
		req := Request{
			Claims:       written(t, claims),
			TTL:          rapid.SampledFrom([]*time.Duration{nil, &p.DefaultTTL, new(time.Minute)}).Draw(t, "ttl"),
			MinRemaining: rapid.SampledFrom([]*time.Duration{nil, new(time.Second), new(time.Minute)}).Draw(t, "min_remaining"),
		}
		if len(claims) == 0 && rapid.Bool().Draw(t, "no text") {
			req.Claims = ""
		}
		draft, err := catalog.Prepare(grant, req)
		if err != nil {
			t.Fatal(err)
		}
		return draft
	}
	same, different := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		a, b := draftOf(t), draftOf(t)
		tokens := tokenOf(t, a) == tokenOf(t, b)
		if identities := a.Identity() == b.Identity(); identities != tokens {
			t.Fatalf("same identity: %t, same token: %t\n%s\n%s", identities, tokens, tokenOf(t, a), tokenOf(t, b))
		}
		if tokens {
			same++
		} else {
			different++
		}
	})
	if same == 0 || different == 0 {
		t.Errorf("%d pairs were the same and %d were not", same, different)
	}
}

func TestIdentityDoesNotDependOnHowTheRequestIsWritten(t *testing.T) {
	catalog, grant := New([]Profile{jwt()}, nil), grantFor(t, "svc")
	seen := map[string]string{}
	for _, req := range []Request{
		{Claims: `{"sub":"a","level":0,"roles":["a"]}`},
		{Claims: `{"level":-0,"sub":"\u0061","roles":["\u0061"]}`},
		{Claims: " {\n\"roles\" : [ \"a\" ] , \"s\\u0075b\":\"a\",\t\"level\":0 } "},
		{Claims: `{"sub":"a","level":0,"roles":["a"]}`, TTL: new(5 * time.Minute)},
		{Claims: `{"sub":"a","level":0,"roles":["a"]}`, MinRemaining: new(4 * time.Minute)},
	} {
		draft, err := catalog.Prepare(grant, req)
		if err != nil {
			t.Fatal(err)
		}
		seen[draft.Identity()] = req.Claims
	}
	if len(seen) != 1 {
		t.Errorf("%d identities: %q", len(seen), seen)
	}
}

// Values are the caller's, so he could try to make one look like two.
func TestIdentityTellsValuesApartThatLookAlike(t *testing.T) {
	p := jwt()
	text := Rule{Caller: &CallerRule{Type: "string_or_list", MaxLength: 100, MaxItems: 5}}
	p.Rules = map[string]Rule{"iat": {Computed: IssueTime}, "exp": {Computed: ExpireTime}, "a": text, "b": text, `b":"x`: text}
	catalog, grant := New([]Profile{p}, nil), grantFor(t, p.Name)
	seen := map[string]string{}
	for _, claims := range []string{
		"", `{"a":""}`, `{"b":""}`, `{"a":"","b":""}`,
		`{"a":"x"}`, `{"a":["x"]}`, `{"a":"[\"x\"]"}`, `{"b":"x"}`, `{"b\":\"x":"x"}`,
		`{"a":"x","b":"y"}`, `{"a":"x\",\"b\":\"y"}`, `{"a":"x\"\\n\"b\":\"y"}`, `{"a":"x\\\"\\n\\\"b\\\":\\\"y"}`,
		`{"a":["x","y"]}`, `{"a":["x,y"]}`, `{"a":["x\",\"y"]}`, `{"a":["y","x"]}`,
		`{"a":"é"}`, `{"a":"é"}`, `{"a":"e` + "\u0301" + `"}`,
	} {
		draft, err := catalog.Prepare(grant, Request{Claims: claims})
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[draft.Identity()]; twice && other != claims {
			t.Errorf("%s and %s share an identity", other, claims)
		}
		seen[draft.Identity()] = claims
	}
	for _, ttl := range []time.Duration{1, 2, 58, 59, 60, 61, 3600} {
		draft, err := catalog.Prepare(grant, Request{TTL: new(ttl * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[draft.Identity()]; twice {
			t.Errorf("%q and a ttl of %ds share an identity", other, ttl)
		}
		seen[draft.Identity()] = fmt.Sprint(ttl)
	}
}

// A token that is kept must not come back for a profile that has become
// another, be it under the same name.
func TestProfilesThatDifferShareNoIdentity(t *testing.T) {
	fixed := func(text string) Rule { return Rule{Fixed: []byte(text)} }
	seen := map[string]string{}
	for name, change := range map[string]func(p *Profile){
		"as it is":                         func(*Profile) {},
		"another name":                     func(p *Profile) { p.Name = "svc2" },
		"a name with a quote":              func(p *Profile) { p.Name = `svc" "key-1` },
		"another key":                      func(p *Profile) { p.Key = "key-2" },
		"another typ":                      func(p *Profile) { p.Typ = "at+jwt" },
		"no typ":                           func(p *Profile) { p.Typ = "" },
		"typ and key in one":               func(p *Profile) { p.Key, p.Typ = `key-1" "JWT`, "" },
		"no kid":                           func(p *Profile) { p.OmitKID = true },
		"another backdate":                 func(p *Profile) { p.Backdate = 11 * time.Second },
		"another default ttl":              func(p *Profile) { p.DefaultTTL = 4 * time.Minute },
		"a max age":                        func(p *Profile) { p.MaxAge = time.Hour },
		"no reuse":                         func(p *Profile) { p.Reuse = Reuse{Mode: Never} },
		"a grid":                           func(p *Profile) { p.Reuse = Reuse{Mode: Shared, Grid: time.Minute} },
		"another grid":                     func(p *Profile) { p.Reuse = Reuse{Mode: Shared, Grid: time.Minute + time.Second} },
		"a min age":                        func(p *Profile) { p.Reuse = Reuse{Mode: Shared, MinAge: time.Minute} },
		"a header parameter":               func(p *Profile) { p.Header = map[string]Rule{"a": fixed(`"x"`)} },
		"another value of it":              func(p *Profile) { p.Header = map[string]Rule{"a": fixed(`"y"`)} },
		"a nonce in the header":            func(p *Profile) { p.Header = map[string]Rule{"a": {Computed: Nonce}} },
		"a UUID in the header":             func(p *Profile) { p.Header = map[string]Rule{"a": {Computed: UUID}} },
		"the parameter as the first claim": func(p *Profile) { p.Rules["a"] = fixed(`"x"`) },
		"another fixed value":              func(p *Profile) { p.Rules["iss"] = fixed(`"https://issuer.example/"`) },
		"a fixed null":                     func(p *Profile) { p.Rules["level"] = fixed(`null`) },
		"a fixed text null":                func(p *Profile) { p.Rules["level"] = fixed(`"null"`) },
		"another computed value":           func(p *Profile) { p.Rules["nbf"] = Rule{Computed: IssueTime} },
		"no such claim":                    func(p *Profile) { delete(p.Rules, "aud") },
		"a claim of two lines":             func(p *Profile) { p.Rules["aud"] = fixed(`["a","b"]` + "\n") },
	} {
		p := jwt()
		p.Rules["sub"].Caller.Required = false
		change(&p)
		draft, err := New([]Profile{p}, nil).Prepare(grantFor(t, p.Name), Request{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, twice := seen[draft.Identity()]; twice {
			t.Errorf("%s and %s share an identity", name, other)
		}
		seen[draft.Identity()] = name
	}
}

func TestHeaderIsWrittenInTheOrderOfItsNames(t *testing.T) {
	p := jwt()
	p.Header = map[string]Rule{"v": {Fixed: []byte(`"2\""`)}, "nonce": {Computed: Nonce}, "bid": {Computed: UUID}}
	set, err := New([]Profile{p}, constantly(0xab)).Build(grantFor(t, p.Name), Request{Claims: `{"sub":"s"}`}, now())
	if err != nil {
		t.Fatal(err)
	}
	const want = `,"bid":"abababab-abab-4bab-abab-abababababab","nonce":"abababababababababababababababab","v":"2\""`
	if diff := cmp.Diff(want, string(set.Header())); diff != "" {
		t.Error(diff)
	}
}

func TestEveryRandomValueIsItsOwn(t *testing.T) {
	p := jwt()
	p.Header = map[string]Rule{"nonce": {Computed: Nonce}}
	p.Rules["nonce"] = Rule{Computed: Nonce}
	catalog, seen := New([]Profile{p}, nil), map[string]bool{}
	draft, err := catalog.Prepare(grantFor(t, p.Name), Request{Claims: `{"sub":"s"}`})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		set, err := draft.At(now())
		if err != nil {
			t.Fatal(err)
		}
		_, claim, _ := bytes.Cut(set.Payload(), []byte(`"nonce":`))
		for _, nonce := range [][]byte{set.Header()[len(`,"nonce":`):], claim[:34]} {
			if seen[string(nonce)] || len(nonce) != 34 {
				t.Fatalf("nonce %s", nonce)
			}
			seen[string(nonce)] = true
		}
	}
}

func TestAtFailsWithoutRandomnessForTheHeader(t *testing.T) {
	p := jwt()
	delete(p.Rules, "jti")
	p.Header = map[string]Rule{"nonce": {Computed: Nonce}}
	set, err := New([]Profile{p}, iotest.ErrReader(errors.New("dry"))).
		Build(grantFor(t, p.Name), Request{Claims: `{"sub":"s"}`}, now())
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) || set.Payload() != nil || set.Header() != nil {
		t.Errorf("made %s, %v", set.Payload(), err)
	}
}

func TestForbiddenClaimIsNeverThere(t *testing.T) {
	p := jwt()
	p.Rules["level"] = Rule{Forbidden: true}
	_, err := build(t, p, Request{Claims: `{"sub":"s","level":1}`})
	if diff := cmp.Diff([]Violation{{"claims.level", "is forbidden by the profile"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}
	set, err := build(t, p, Request{Claims: `{"sub":"s"}`})
	if err != nil || bytes.Contains(set.Payload(), []byte("level")) {
		t.Errorf("%s, %v", set.Payload(), err)
	}
}

func TestDraftSaysWhatItWasApprovedFor(t *testing.T) {
	catalog := New([]Profile{jwt()}, nil)
	draft, err := catalog.Prepare(grantFor(t, "svc"), Request{Claims: `{"sub":"s"}`, TTL: new(10 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if draft.Key() != "key-1" || draft.Grant().Profile() != "svc" || draft.Profile().Name != "svc" || draft.Life() != 10*time.Minute || draft.MinRemaining() != 200*time.Second {
		t.Errorf("key %q, profile %q, life %v, least %v", draft.Key(), draft.Profile().Name, draft.Life(), draft.MinRemaining())
	}
}

func TestDraftRedactsItself(t *testing.T) {
	draft, err := New([]Profile{jwt()}, nil).Prepare(grantFor(t, "svc"), Request{Claims: `{"sub":"hunter2"}`})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Draft{draft, {}} {
		out := fmt.Sprintf("%s %v %+v %#v %q %v", d, d, d, d, d, []Draft{d}) + d.LogValue().String()
		if strings.Contains(out, secret) || strings.Contains(out, "0x68, 0x75") {
			t.Errorf("shows its claims: %s", out)
		}
	}
}
