package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

func TestCallersOfTheCommandLine(t *testing.T) {
	for spec, want := range map[string]string{
		"unix:uid=1000,gid=7":              "unix:uid=1000,gid=7",
		"spiffe://example.org/ci":          "uri:spiffe://example.org/ci",
		"uri:https://example.org/ci":       "uri:https://example.org/ci",
		"dns:CI.example.org":               "dns:ci.example.org",
		"email:ci@example.org":             "email:ci@example.org",
		"oidc:github:repo:example/app:ref": "oidc:github:repo:example/app:ref",
		"unix:uid=1000":                    "",
		"unix:gid=1,uid=1":                 "",
		"unix:uid=-1,gid=1":                "",
		"unix:uid=4294967296,gid=1":        "",
		"unix:uid=1,gid=1,x":               "",
		"oidc:github":                      "",
		"oidc::sub":                        "",
		"uri:example.org":                  "",
		"uri::":                            "",
		"root":                             "",
		"dns:":                             "",
		"":                                 "",
		"https://example.org/ci":           "",
	} {
		caller, err := parseCaller(spec, nil)
		if (err != nil) != (want == "") || err == nil && caller.String() != want {
			t.Errorf("%q: %v, %v", spec, caller, err)
		}
	}
	for _, claims := range [][]string{{"x"}, {"=x"}, {"a=1", "a=2"}} {
		if _, err := parseCaller("oidc:i:s", claims); err == nil {
			t.Errorf("claims %v", claims)
		}
	}
	if _, err := parseCaller("dns:x", []string{"a=1"}); err == nil {
		t.Error("claims of a certificate")
	}
}

func FuzzParseCaller(f *testing.F) {
	for _, spec := range []string{"unix:uid=1,gid=2", "spiffe://a/b", "uri:x://y", "dns:a", "email:a@b", "oidc:i:s:t", "unix:uid=+1,gid=02", "uri:%"} {
		f.Add(spec, "a=b")
	}
	f.Fuzz(func(t *testing.T, spec, claim string) {
		caller, err := parseCaller(spec, nil)
		if err == nil != caller.Known() {
			t.Errorf("%q: %v, %v", spec, caller, err)
		}
		if err == nil && caller.Expires() {
			t.Error("expires")
		}
		if with, err := parseCaller(spec, []string{claim}); err == nil {
			if token, ok := with.Token(); !ok || len(token.Claims) != 1 {
				t.Errorf("%q, %q: %v", spec, claim, with)
			}
		}
	})
}

// Every example of docs/grants.md is a list of grants that a file can have.
func TestGrantsOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/grants.md")
	if err != nil {
		t.Fatal(err)
	}
	const frame = `listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
issuers: {github: {url: "https://token.actions.githubusercontent.com", audiences: [jotsmith]}}
keys:
  asc: {backend: files, id: asc.p8, kid: "2X9R4HXF34"}
  billing: {backend: files, id: billing.pem, kid: billing}
profiles:
  asc: {key: asc, preset: apple/app-store-connect-team, claims: {iss: {fixed: 57246542-96fe-1a63-e053-0824d011072a}}}
  billing: {key: billing, preset: jwt, claims: {iss: {fixed: "https://tokens.example.org"}, aud: {fixed: "https://billing.example.org"}, sub: {caller: {required: true}}, role: {caller: {one_of: [reader, writer]}}}}
`
	snippets := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(snippets) < 5 {
		t.Fatalf("%d examples", len(snippets))
	}
	for _, snippet := range snippets {
		text := snippet[1]
		if !strings.HasPrefix(text, "grants:") {
			t.Errorf("not grants:\n%s", text)
			continue
		}
		if _, err := config.Parse("docs/grants.md", []byte(frame+text), checkURI); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}
