package publish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// newKey returns a key of some kid.
func newKey(t testing.TB, kid string) Key {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{KID: kid, PublicKey: &key.PublicKey, VerifierCache: 5 * time.Minute}
}

// build builds a plan's site over the keys by their configured names.
func build(t testing.TB, p Plan, keys map[string][]Key) *Site {
	t.Helper()
	site, err := p.Build(func(name string) []Key { return keys[name] })
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func (s *Site) at(path string) *Document {
	i := slices.IndexFunc(s.documents, func(d Document) bool { return d.Path == path })
	if i < 0 {
		return nil
	}
	return &s.documents[i]
}

func kids(t *testing.T, d *Document) string {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(d.Body, &set); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, key := range set.Keys {
		if !key.Valid() || !key.IsPublic() || key.Algorithm != "ES256" || key.Use != "sig" {
			t.Errorf("key %+v", key)
		}
		kids = append(kids, key.KeyID)
	}
	return strings.Join(kids, " ")
}

func TestEachIssuerHasItsOwnKeysAndTheRootHasAll(t *testing.T) {
	a, b, c := newKey(t, "a"), newKey(t, "b"), newKey(t, "c")
	plan := Plan{
		Issuers: []Issuer{
			{URL: "https://x.example/one", Keys: []string{"a", "b"}, Claims: []string{"aud", "iss"}},
			{URL: "https://x.example/two/", Keys: []string{"b"}},
		},
		Keys: []string{"c"},
	}
	keys := map[string][]Key{"a": {a}, "b": {b}, "c": {c}}
	site := build(t, plan, keys)
	for path, want := range map[string]string{
		"/.well-known/jwks.json":     "a b c",
		"/one/.well-known/jwks.json": "a b",
		"/two/.well-known/jwks.json": "b",
		"/keys/c/jwks.json":          "c",
	} {
		d := site.at(path)
		if d == nil {
			t.Fatalf("nothing at %s", path)
		}
		if got := kids(t, d); got != want || d.MediaType != "application/jwk-set+json" || d.MaxAge != 5*time.Minute || d.Missing != nil {
			t.Errorf("%s: %q, %+v", path, got, d)
		}
	}
	var paths []string
	for _, d := range site.Documents() {
		paths = append(paths, d.Path)
	}
	if diff := cmp.Diff([]string{
		"/.well-known/jwks.json",
		"/.well-known/oauth-authorization-server/one", "/.well-known/oauth-authorization-server/two",
		"/.well-known/openid-configuration/one", "/.well-known/openid-configuration/two",
		"/keys/c/jwks.json",
		"/one/.well-known/jwks.json", "/one/.well-known/openid-configuration",
		"/two/.well-known/jwks.json", "/two/.well-known/openid-configuration",
	}, paths); diff != "" {
		t.Error(diff)
	}
	const one = `{"issuer":"https://x.example/one","jwks_uri":"https://x.example/one/.well-known/jwks.json",` +
		`"response_types_supported":["id_token"],"subject_types_supported":["public"],` +
		`"id_token_signing_alg_values_supported":["ES256"],"claims_supported":["aud","iss"]}` + "\n"
	for _, path := range []string{
		"/one/.well-known/openid-configuration", "/.well-known/openid-configuration/one", "/.well-known/oauth-authorization-server/one",
	} {
		if d := site.at(path); string(d.Body) != one || d.MediaType != "application/json" {
			t.Errorf("%s: %s", path, d.Body)
		}
	}
	// The issuer is as in iss, slash and all; the set is below it.
	if got := string(site.at("/two/.well-known/openid-configuration").Body); !strings.HasPrefix(got, `{"issuer":"https://x.example/two/","jwks_uri":"https://x.example/two/.well-known/jwks.json",`) {
		t.Error(got)
	}
	again := build(t, plan, keys)
	if diff := cmp.Diff(site.Documents(), again.Documents()); diff != "" {
		t.Errorf("another output of the same input: %s", diff)
	}
}

// A verifier who asks an issuer at the root for its keys gets no others, so
// nobody's token with that iss passes by the key of something else.
func TestIssuerAtTheRootHasTheWellKnownSetToItself(t *testing.T) {
	keys := map[string][]Key{"a": {newKey(t, "a")}, "b": {newKey(t, "b")}, "c": {newKey(t, "c")}}
	for _, url := range []string{"https://x.example", "https://x.example/"} {
		site := build(t, Plan{
			Issuers: []Issuer{{URL: url, Keys: []string{"a"}}, {URL: "https://x.example/b", Keys: []string{"b"}}},
			Keys:    []string{"c"},
		}, keys)
		if got := kids(t, site.at("/.well-known/jwks.json")); got != "a" {
			t.Errorf("%s: the set at the root has %s", url, got)
		}
		if got := string(site.at("/.well-known/openid-configuration").Body); !strings.HasPrefix(got, `{"issuer":"`+url+`","jwks_uri":"https://x.example/.well-known/jwks.json",`) {
			t.Error(got)
		}
		// As files, the other issuer's would be in the directory of the first's.
		if site.at("/.well-known/oauth-authorization-server") == nil || site.at("/.well-known/oauth-authorization-server/b") != nil || site.at("/.well-known/openid-configuration/b") != nil {
			t.Errorf("%s: RFC 8414 is in its own way", url)
		}
	}
}

func TestSetIsKeptForAsLongAsItsMostUrgentKeyAllows(t *testing.T) {
	slow, fast := newKey(t, "slow"), newKey(t, "fast")
	slow.VerifierCache, fast.VerifierCache = 24*time.Hour, time.Minute
	plan := Plan{Issuers: []Issuer{{URL: "https://x.example", Keys: []string{"fast", "slow"}}}, Keys: []string{"slow"}}
	keys := map[string][]Key{"slow": {slow}, "fast": {fast}}
	site := build(t, plan, keys)
	if got := site.at("/.well-known/jwks.json").MaxAge; got != time.Minute {
		t.Errorf("the set of both: %v", got)
	}
	if got := site.at("/keys/slow/jwks.json").MaxAge; got != 24*time.Hour {
		t.Errorf("the set of one: %v", got)
	}
	delete(keys, "fast") // not read from its store yet
	site = build(t, plan, keys)
	d := site.at("/.well-known/jwks.json")
	if got := kids(t, d); got != "slow" || d.MaxAge != 10*time.Second || !slices.Equal(d.Missing, []string{"fast"}) {
		t.Errorf("an incomplete set: %s, %+v", got, d)
	}
	delete(keys, "slow")
	site = build(t, plan, keys)
	if d := site.at("/.well-known/jwks.json"); d.Body != nil || len(d.Missing) != 2 {
		t.Errorf("a set of nothing: %+v", d)
	}
}

// A key's versions, old and new, are in its set; the same key under two names is
// there once.
func TestSetHasEveryVersionOfAKeyOnce(t *testing.T) {
	older, newer := newKey(t, "2026-11"), newKey(t, "2026-12")
	site := build(t, Plan{Issuers: []Issuer{{URL: "https://x.example", Keys: []string{"k", "same"}}}}, map[string][]Key{"k": {newer, older}, "same": {older}})
	if got := kids(t, site.at("/.well-known/jwks.json")); got != "2026-11 2026-12" {
		t.Error(got)
	}
}

func TestNothingIsPublishedOfTheZeroPlan(t *testing.T) {
	if site := build(t, Plan{}, nil); len(site.Documents()) != 0 {
		t.Errorf("%v", site.Documents())
	}
}

func TestPathOfAnIssuer(t *testing.T) {
	for url, want := range map[string]string{
		"https://x.example":             "",
		"https://x.example/":            "",
		"https://x.example:8443/a":      "/a",
		"https://[::1]/a/":              "/a",
		"https://x.example/a/b-c_d.e~f": "/a/b-c_d.e~f",
	} {
		if got, err := PathOf(url); err != nil || got != want {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	for _, url := range []string{
		"", "x.example", "http://x.example", "HTTPS:x.example", "https:///a", "https://:443/a", "https:a", "mailto:a@x.example",
		"https://u@x.example", "https://x.example?q", "https://x.example?", "https://x.example#f", "https://x.example/#",
		"https://x.example//", "https://x.example//a", "https://x.example/a//b", "https://x.example/a//",
		"https://x.example/.", "https://x.example/a/../b", "https://x.example/a/..",
		"https://x.example/%61", "https://x.example/a%2Fb", "https://x.example/ä", "https://x.example/a b", "https://x.example/a;b", "https://x.example/a\\b",
		"https://x.example/a\nb", "https://[::1/a",
	} {
		if got, err := PathOf(url); err == nil {
			t.Errorf("%s has the path %q", url, got)
		}
	}
}

func TestPlanIsRefusedWhereTwoThingsAreInOnePlace(t *testing.T) {
	for name, plan := range map[string]Plan{
		"two hosts":            {Issuers: []Issuer{{URL: "https://a.example/x"}, {URL: "https://b.example/x"}}},
		"two at the root":      {Issuers: []Issuer{{URL: "https://a.example"}, {URL: "https://b.example"}}},
		"a slash apart":        {Issuers: []Issuer{{URL: "https://a.example/x"}, {URL: "https://a.example/x/"}}},
		"below the set of all": {Issuers: []Issuer{{URL: "https://a.example/.well-known/jwks.json"}}},
		"below a key's set":    {Issuers: []Issuer{{URL: "https://a.example/keys/k/jwks.json"}}, Keys: []string{"k"}},
		"above a key's set":    {Issuers: []Issuer{{URL: "https://a.example"}, {URL: "https://a.example/.well-known/openid-configuration"}}},
	} {
		if err := plan.Check(); err == nil || !strings.Contains(err.Error(), "one thing at a path") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := plan.Build(func(string) []Key { return nil }); err == nil {
			t.Errorf("%s was built", name)
		}
	}
	if err := (Plan{Issuers: []Issuer{{URL: "http://a.example"}}}).Check(); err == nil {
		t.Error("an issuer of http is published")
	}
	if err := (Plan{Issuers: []Issuer{{URL: "https://a.example/a"}, {URL: "https://a.example/a/b"}, {URL: "https://a.example/keys"}}, Keys: []string{"a", "b"}}).Check(); err != nil {
		t.Errorf("one issuer below another: %v", err)
	}
}

func FuzzPathOf(f *testing.F) {
	for _, url := range []string{"https://x.example", "https://x.example/a/b/", "https://x.example/%2e%2e/a", "https://x.example/a?b#c"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		path, err := PathOf(url)
		if err != nil {
			return
		}
		if strings.HasSuffix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, "%?#\\ ") || slices.Contains(strings.Split(path, "/"), "..") {
			t.Errorf("%q has the path %q", url, path)
		}
		if !strings.HasPrefix(url, "https://") && !strings.EqualFold(url[:8], "https://") {
			t.Errorf("%q is no https URL", url)
		}
		if err := (Plan{Issuers: []Issuer{{URL: url}}}).Check(); err != nil && !strings.Contains(err.Error(), "one thing at a path") {
			t.Errorf("%q: %v", url, err)
		}
	})
}

func TestLooksKnowsEveryPathOfEveryPlan(t *testing.T) {
	plan := Plan{Issuers: []Issuer{{URL: "https://x.example/a", Keys: []string{"k"}}, {URL: "https://x.example", Keys: []string{"k"}}}, Keys: []string{"k"}}
	for _, plan := range []Plan{plan, {Issuers: plan.Issuers[:1]}, {Keys: plan.Keys}} {
		for _, d := range build(t, plan, nil).Documents() {
			if !Looks(d.Path) {
				t.Errorf("%s does not look like one", d.Path)
			}
		}
	}
	for _, path := range []string{"/", "/index.html", "/jwks.json.bak", "/.well-known/security.txt", "/.well-known/openid-configuration.html"} {
		if Looks(path) {
			t.Errorf("%s looks like one", path)
		}
	}
}
