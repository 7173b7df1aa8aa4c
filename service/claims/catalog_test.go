package claims

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/policy"
)

// now is the clock of these tests, with a fraction that no token may show.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 999_999_999, time.UTC) }

// grantFor returns a grant of the profile as policy makes it.
func grantFor(t testing.TB, profile string) policy.Grant {
	t.Helper()
	uid := uint32(1000)
	rules := []policy.Rule{{Name: "test", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{profile}}}
	grant, err := policy.New(rules).Decide(authn.FromUnix(authn.Unix{UID: uid}), profile)
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// jwt is a profile as the preset jwt gives it, with claims from the caller.
func jwt() Profile {
	return Profile{
		Name: "svc", Key: "key-1", Typ: "JWT",
		Rules: map[string]Rule{
			"iss":   {Fixed: []byte(`"https://issuer.example"`)},
			"aud":   {Fixed: []byte(`["a","b"]`)},
			"iat":   {Computed: IssueTime},
			"nbf":   {Computed: NotBefore},
			"exp":   {Computed: ExpireTime},
			"jti":   {Computed: UUID},
			"sub":   {Caller: &CallerRule{Type: "string", Required: true, MaxLength: 64}},
			"level": {Caller: &CallerRule{Type: "integer"}},
			"admin": {Caller: &CallerRule{Type: "boolean"}},
			"roles": {Caller: &CallerRule{Type: "string_or_list", MaxLength: 16, MaxItems: 3}},
		},
		DefaultTTL: 5 * time.Minute, MaxTTL: time.Hour, Backdate: 10 * time.Second,
		Reuse: Reuse{Mode: UntilRefresh},
	}
}

func build(t *testing.T, p Profile, req Request) (Set, error) {
	t.Helper()
	return New([]Profile{p}, bytes.NewReader(make([]byte, 16))).Build(grantFor(t, p.Name), req, now())
}

// violations returns what a refusal lists, and fails when err is none.
func violations(t *testing.T, err error) []Violation {
	t.Helper()
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("not a refusal: %v", err)
	}
	return refusal.Violations
}

func TestBuildWritesTheClaimsSetByteForByte(t *testing.T) {
	set, err := build(t, jwt(), Request{Claims: `{
		"roles": ["r\u0061", "</s>"], "sub": "J\u00fcrgen \"J\"\u2028", "admin": true, "level": -0 }`})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"admin":true,"aud":["a","b"],"exp":1772366700,"iat":1772366390,` +
		`"iss":"https://issuer.example","jti":"00000000-0000-4000-8000-000000000000","level":0,"nbf":1772366390,` +
		`"roles":["ra","</s>"],"sub":"Jürgen \"J\"` + "\u2028" + `"}`
	if diff := cmp.Diff(want, string(set.Payload())); diff != "" {
		t.Error(diff)
	}
	second := now().Truncate(time.Second)
	for name, times := range map[string][2]time.Time{
		"iat":     {set.IssueTime(), second.Add(-10 * time.Second)},
		"exp":     {set.ExpireTime(), second.Add(5 * time.Minute)},
		"end":     {set.EndTime(), second.Add(5 * time.Minute)},
		"refresh": {set.RefreshTime(), second.Add(200 * time.Second)},
		"last":    {set.LastHandout(), second.Add(200 * time.Second)},
	} {
		if !times[0].Equal(times[1]) {
			t.Errorf("%s is %v, want %v", name, times[0], times[1])
		}
	}
	if set.Key() != "key-1" || set.Typ() != "JWT" || set.Grant().Profile() != "svc" {
		t.Errorf("key %q, typ %q, profile %q", set.Key(), set.Typ(), set.Grant().Profile())
	}
}

func TestBuildDoesNotDependOnTheOrderOfTheRequest(t *testing.T) {
	a, err := build(t, jwt(), Request{Claims: `{"sub":"s","level":1}`})
	if err != nil {
		t.Fatal(err)
	}
	b, err := build(t, jwt(), Request{Claims: `{"level":1,"sub":"\u0073"}`})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Payload(), b.Payload()) {
		t.Errorf("%s and %s", a.Payload(), b.Payload())
	}
}

func TestBuildRefusesNames(t *testing.T) {
	const (
		unknown = "is not a claim of this profile"
		own     = "is set by the profile, not by the caller"
	)
	for _, tt := range []struct{ name, claims, field, want string }{
		{"a fixed claim", `"iss":"https://evil.example"`, "claims.iss", own},
		{"a fixed claim with its own value", `"iss":"https://issuer.example"`, "claims.iss", own},
		{"aud", `"aud":"x"`, "claims.aud", own},
		{"iat", `"iat":1`, "claims.iat", own},
		{"exp", `"exp":4102444800`, "claims.exp", own},
		{"nbf", `"nbf":0`, "claims.nbf", own},
		{"jti", `"jti":"x"`, "claims.jti", own},
		{"a header's name", `"alg":"none"`, "claims.alg", unknown},
		{"a case variant", `"ISS":"x"`, "claims.ISS", unknown},
		{"a case variant of a caller's claim", `"Sub":"x"`, "claims.Sub", unknown},
		{"a dotless i", `"\u0131ss":"x"`, `claims."\u0131ss"`, unknown},
		{"a long s", `"i\u017fs":"x"`, `claims."i\u017fs"`, unknown},
		{"full width", `"ｉｓｓ":"x"`, `claims."\uff49\uff53\uff53"`, unknown},
		{"a NUL behind", `"sub\u0000":"x"`, `claims."sub\x00"`, unknown},
		{"a blank behind", `"sub ":"x"`, `claims."sub "`, unknown},
		{"a zero-width joiner", `"sub\u200d":"x"`, `claims."sub\u200d"`, unknown},
		{"a combining mark", `"exp\u0301":1`, `claims."exp\u0301"`, unknown},
		{"a prototype", `"__proto__":{"iss":"x"}`, "claims.__proto__", unknown},
		{"no letters", `"":1`, `claims.""`, unknown},
		{"a line feed", `"a\nb":1`, `claims."a\nb"`, unknown},
		{"100 letters", `"` + strings.Repeat("a", 100) + `":1`, "claims." + strings.Repeat("a", 64) + "...", unknown},
		{"300 letters", `"` + strings.Repeat("a", 300) + `":1`, `claims."` + strings.Repeat("a", 16) + `"...`, unknown},
		{"40 times ü", `"` + strings.Repeat("ü", 40) + `":1`, `claims."` + strings.Repeat(`\u00fc`, 8) + `"...`, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := build(t, jwt(), Request{Claims: `{"sub":"s",` + tt.claims + `}`})
			if diff := cmp.Diff([]Violation{{tt.field, tt.want}}, violations(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBuildNamesEveryFaultAtOnce(t *testing.T) {
	ttl := 2 * time.Hour
	_, err := build(t, jwt(), Request{TTL: &ttl, MinRemaining: new(-time.Second), Claims: `{"iss":"hunter2","level":"hunter2","x":"hunter2","roles":["hunter2","hunter2"]}`})
	want := []Violation{
		{"claims.iss", "is set by the profile, not by the caller"},
		{"claims.level", "is of type string; the profile takes an integer"},
		{"claims.x", "is not a claim of this profile"},
		{"claims.roles", "item 1 stands twice"},
		{"claims.sub", "is required"},
		{"ttl", "is over this profile's limit of 3600s"},
		{"min_remaining", "is negative"},
	}
	if diff := cmp.Diff(want, violations(t, err)); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("repeats a value: %v", err)
	}
}

// gRPC's C core, which serves Python, Ruby, PHP and C#, takes 8 KiB of
// trailers. The status holds the text twice, once in base64, and again the
// violations.
func TestRefusalFitsIntoTrailers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"sub":"s"`)
	for i := range 250 {
		fmt.Fprintf(&b, `,"%s%d":1`, strings.Repeat(`\u0001`, 18), i)
	}
	b.WriteString("}")
	_, err := build(t, jwt(), Request{Claims: b.String()})
	size := 0
	for _, v := range violations(t, err) {
		size += len(v.Field) + len(v.Description)
	}
	if onWire := len(err.Error()) + (len(err.Error())+size)*4/3; onWire > 8<<10 {
		t.Errorf("%d bytes", onWire)
	}
}

func TestBuildRefusesTTLs(t *testing.T) {
	for _, tt := range []struct {
		name string
		ttl  time.Duration
		want string
	}{
		{"zero", 0, "is not positive"},
		{"minus one nanosecond", -1, "is not positive"},
		{"negative", -5 * time.Minute, "is not positive"},
		{"int64 min", math.MinInt64, "is not positive"},
		{"a nanosecond", 1, "is not a whole number of seconds"},
		{"a fraction", 1500 * time.Millisecond, "is not a whole number of seconds"},
		{"a nanosecond over the limit", time.Hour + 1, "is not a whole number of seconds"},
		{"a second over the limit", time.Hour + time.Second, "is over this profile's limit of 3600s"},
		{"int64 max", math.MaxInt64, "is not a whole number of seconds"},
		{"int64 max in whole seconds", math.MaxInt64 / time.Second * time.Second, "is over this profile's limit of 3600s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := build(t, jwt(), Request{TTL: &tt.ttl, Claims: `{"sub":"s"}`})
			if diff := cmp.Diff([]Violation{{"ttl", tt.want}}, violations(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBuildAcceptsTTLsUpToTheLimit(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, 10 * time.Minute, time.Hour} {
		set, err := build(t, jwt(), Request{TTL: &ttl, Claims: `{"sub":"s"}`})
		if err != nil {
			t.Fatal(err)
		}
		if got := set.ExpireTime().Sub(now().Truncate(time.Second)); got != ttl {
			t.Errorf("exp is %v ahead, want %v", got, ttl)
		}
	}
}

// A profile without a bound of its own on the ttl still keeps exp - iat: the
// sum of ttl and backdate must not wrap.
func TestBuildKeepsTheLifetimeWhenTheTTLIsHuge(t *testing.T) {
	p := jwt()
	p.MaxTTL, p.MaxLifetime = math.MaxInt64, time.Hour
	ttl := math.MaxInt64 / time.Second * time.Second
	_, err := build(t, p, Request{TTL: &ttl, Claims: `{"sub":"s"}`})
	if diff := cmp.Diff([]Violation{{"ttl", "is over the limit of 3590s"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}
	p.LongLived = &LongLived{Claim: "sub", Check: CheckASCLongLived, MaxLifetime: 2 * time.Hour}
	_, err = build(t, p, Request{TTL: &ttl, Claims: `{"sub":"s"}`})
	if diff := cmp.Diff([]Violation{{"ttl", "is over the limit of 7190s"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}
}

func TestZeroGrantYieldsNoSet(t *testing.T) {
	unnamed := jwt()
	unnamed.Name = ""
	for name, profiles := range map[string][]Profile{
		"no profiles":               nil,
		"a profile":                 {jwt()},
		"a profile without a name ": {unnamed},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := New(profiles, nil).Build(policy.Grant{}, Request{Claims: `{"sub":"s"}`}, now())
			if err == nil || set.Payload() != nil {
				t.Errorf("made %s, %v", set.Payload(), err)
			}
		})
	}
}

func TestGrantOfAProfileThatIsNotInTheCatalogYieldsNoSet(t *testing.T) {
	set, err := New([]Profile{jwt()}, nil).Build(grantFor(t, "other"), Request{}, now())
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) || set.Payload() != nil {
		t.Errorf("made %s, %v", set.Payload(), err)
	}
}

func TestRefusedRequestYieldsNoSet(t *testing.T) {
	set, err := build(t, jwt(), Request{Claims: `{"sub":"s","x":1}`})
	if err == nil || set.Payload() != nil || set.Header() != nil {
		t.Errorf("made %s, %v", set.Payload(), err)
	}
}

func TestBuildFailsWithoutRandomnessForAUUID(t *testing.T) {
	set, err := New([]Profile{jwt()}, iotest.ErrReader(errors.New("dry"))).
		Build(grantFor(t, "svc"), Request{Claims: `{"sub":"s"}`}, now())
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) || set.Payload() != nil {
		t.Errorf("made %s, %v", set.Payload(), err)
	}
}

func TestUUIDsDiffer(t *testing.T) {
	catalog, seen := New([]Profile{jwt()}, nil), map[string]bool{}
	for range 1000 {
		set, err := catalog.Build(grantFor(t, "svc"), Request{Claims: `{"sub":"s"}`}, now())
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ JTI string }
		if err := json.Unmarshal(set.Payload(), &got); err != nil {
			t.Fatal(err)
		}
		if seen[got.JTI] || len(got.JTI) != 36 || got.JTI[14] != '4' || !strings.ContainsRune("89ab", rune(got.JTI[19])) {
			t.Fatalf("jti %q", got.JTI)
		}
		seen[got.JTI] = true
	}
}

func TestProfileIsFoundByItsName(t *testing.T) {
	catalog := New([]Profile{jwt()}, nil)
	if p, ok := catalog.Profile("svc"); !ok || p.Key != "key-1" {
		t.Errorf("%v, %v", p, ok)
	}
	if p, ok := catalog.Profile("other"); ok || p != nil {
		t.Errorf("%v, %v", p, ok)
	}
}

func TestSetRedactsItself(t *testing.T) {
	set, err := build(t, jwt(), Request{Claims: `{"sub":"hunter2"}`})
	if err != nil {
		t.Fatal(err)
	}
	var text, js bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&text, nil)), slog.New(slog.NewJSONHandler(&js, nil))} {
		log.LogAttrs(context.Background(), slog.LevelInfo, "m", slog.Any("set", set), slog.Any("in", struct{ Set Set }{set}))
	}
	for _, out := range []string{
		fmt.Sprint(set), fmt.Sprintf("%s %v %+v %#v %q", set, set, set, set, set),
		fmt.Sprintf("%v %+v %#v", struct{ Set Set }{set}, struct{ Set Set }{set}, []Set{set}),
		text.String(), js.String(),
	} {
		if strings.Contains(out, secret) || strings.Contains(out, "104 117 110") || strings.Contains(out, "0x68, 0x75") {
			t.Errorf("shows its claims: %s", out)
		}
	}
}

func TestBuildFromManyGoroutines(t *testing.T) {
	asc := asc()
	catalog := New([]Profile{jwt(), asc}, nil)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 50 {
				sub := fmt.Sprintf("caller-%d", i)
				set, err := catalog.Build(grantFor(t, "svc"), Request{Claims: `{"sub":"` + sub + `"}`}, now())
				if err != nil || !strings.Contains(string(set.Payload()), `"sub":"`+sub+`"`) {
					t.Errorf("%s, %v", set.Payload(), err)
				}
				if set, err = catalog.Build(grantFor(t, asc.Name), Request{}, now()); err != nil || strings.Contains(string(set.Payload()), "sub") {
					t.Errorf("%s, %v", set.Payload(), err)
				}
			}
		})
	}
	wg.Wait()
}
