package policy

import (
	"strings"
	"sync"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/jotsmith/jotsmith/service/authn"
)

func condition(t testing.TB, text string) *Condition {
	t.Helper()
	compiler, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	c, err := compiler.Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// counting returns a condition that counts how often it is worked out.
func counting(t testing.TB, counted map[string]int, name string, holds bool) *Condition {
	t.Helper()
	env, err := cel.NewEnv(cel.Function("count", cel.Overload("count", nil, cel.BoolType,
		cel.FunctionBinding(func(...ref.Val) ref.Val {
			counted[name]++
			return types.Bool(holds)
		}))))
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile("count()")
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatal(err)
	}
	return &Condition{program}
}

func TestConditions(t *testing.T) {
	root := process(0, 5)
	named := holder(t, "spiffe://example.org/ci/deploy", nil, nil)
	github := bearer("github", "repo:example/app", map[string]string{"ref": "refs/tags/v1.2", "environment": "production"})
	for _, tt := range []struct {
		text   string
		caller authn.Caller
		want   bool
	}{
		{`caller.kind == "unix" && caller.uid == 0 && caller.gid == 5`, root, true},
		{`caller.kind == "mtls"`, named, true},
		{`caller.kind == "oidc" && caller.issuer == "github"`, github, true},
		{`caller.kind == "loopback"`, authn.FromLoopback(), true},
		{`caller.name == ""`, authn.FromLoopback(), false},
		{`caller.name.startsWith("spiffe://example.org/ci/")`, named, true},
		{`caller.name == "repo:example/app"`, github, true},
		{`caller.claims.environment == "production" && caller.claims["ref"].matches("^refs/tags/v[0-9.]+$")`, github, true},
		{`has(caller.claims.ref)`, github, true},
		{`has(caller.claims.x)`, github, false},
		{`"ref" in caller.claims`, named, false},
		{`caller.claims.all(name, name != "actor")`, github, true},
		{`profile == "p"`, root, true},
		{`profile.startsWith("prod/")`, root, false},
		{`caller.claims.size() == 0`, root, true},
		// What the caller does not have is nothing, also where nothing is asked not to be.
		{`caller.uid == 0`, named, false},
		{`caller.uid != 0`, named, false},
		{`!(caller.uid == 0)`, github, false},
		{`caller.issuer != "gitlab"`, root, false},
		{`caller.name == ""`, root, false},
		{`caller.claims.x == "" || caller.claims.x != ""`, github, false},
		{`caller.kind == "oidc" || caller.uid == 0`, github, true},
		{`1 / (caller.uid - caller.uid) == 1 || false`, root, false},
		{`true`, authn.Caller{}, false}, // named by no rule
	} {
		p := New([]Rule{{
			Name: "r", When: condition(t, tt.text), Profiles: []string{"p"},
			Callers: []Match{{Unix: &UnixMatch{UID: new(uint32(0))}}, {URIPrefix: "spiffe://example.org/"}, {Token: &TokenMatch{Issuer: "github", SubPrefix: "repo:"}}, {Loopback: true}},
		}})
		if _, err := p.Decide(tt.caller, "p"); (err == nil) != tt.want || (len(p.Profiles(tt.caller)) == 1) != tt.want {
			t.Errorf("%s for %v: %v", tt.text, tt.caller, err)
		}
	}
}

func TestConditionsThatAreRefused(t *testing.T) {
	compiler, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"caller.uid ==":               "at 1:14: Syntax error",
		"true &&\n  caller.user == 1": "at 2:3: undeclared reference to 'caller'; there is caller.kind",
		"caller.uid == 'root'":        "at 1:12: found no matching overload",
		"caller.name":                 "at 1:1: is of type string; it has to be true or false",
		"caller.claims.all(a, caller.claims.all(b, a == b || caller.claims[a] == caller.claims[b]))": "over the limit of 10000",
		"caller.claims.exists(a, caller.claims[a].matches('(a|aa)+'))":                               "over the limit of 10000",
		"caller.name.matches('(')": "at 1:",
	} {
		if _, err := compiler.Compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// An estimate knows nothing of texts that are longer than it takes them to be:
// then the limit of the run holds.
func TestConditionThatCostsTooMuchDoesNotHold(t *testing.T) {
	c := condition(t, `caller.claims.x.matches("(a|b|ab)*c?.*") && profile.size() > 0`)
	long := bearer("github", "s", map[string]string{"x": strings.Repeat("ab", 100_000)})
	start := time.Now()
	if _, err := c.eval(long, "p"); err == nil || c.holds(long, "p") {
		t.Errorf("held after %v", time.Since(start))
	}
	if holds, err := c.eval(bearer("github", "s", map[string]string{"x": "ab"}), "p"); !holds || err != nil {
		t.Error(err)
	}
}

func TestOneConditionServesManyAtOnce(t *testing.T) {
	c := condition(t, `caller.uid == 7 && profile == "p"`)
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			for range 200 {
				if c.holds(process(i, 0), "p") != (i == 7) {
					t.Errorf("uid %d", i)
				}
			}
		})
	}
	wg.Wait()
}
