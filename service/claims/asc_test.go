package claims

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

// asc is a profile as the preset apple/app-store-connect-team gives it.
func asc() Profile {
	return Profile{
		Name: "asc", Key: "apple", Typ: "JWT",
		Rules: map[string]Rule{
			"iss":   {Fixed: []byte(`"57246542-96fe-1a63-e053-0824d011072a"`)},
			"iat":   {Computed: IssueTime},
			"exp":   {Computed: ExpireTime},
			"aud":   {Fixed: []byte(`"appstoreconnect-v1"`)},
			"scope": {Caller: &CallerRule{Type: "string_list", MaxLength: 1024, MaxItems: 64, Check: CheckASCScope}},
		},
		DefaultTTL: 600 * time.Second, MaxTTL: 180*day - time.Minute, Backdate: 60 * time.Second,
		MaxLifetime: 1140 * time.Second,
		LongLived:   &LongLived{Claim: "scope", Check: CheckASCLongLived, MaxLifetime: 180 * day},
	}
}

func scopeOf(entries ...string) string {
	text, err := json.Marshal(map[string]any{"scope": entries})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestASCBackdatesByAMinuteAndLastsTenMinutes(t *testing.T) {
	set, err := build(t, asc(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"aud":"appstoreconnect-v1","exp":1772367000,"iat":1772366340,"iss":"57246542-96fe-1a63-e053-0824d011072a"}`
	if diff := cmp.Diff(want, string(set.Payload())); diff != "" {
		t.Error(diff)
	}
}

func TestASCCapsTheLifetimeAt1140Seconds(t *testing.T) {
	for _, claims := range []string{"", scopeOf("GET /v1/apps")} {
		ttl := 1080 * time.Second
		set, err := build(t, asc(), Request{TTL: &ttl, Claims: claims})
		if err != nil {
			t.Fatal(err)
		}
		if got := set.ExpireTime().Sub(set.IssueTime()); got != 1140*time.Second {
			t.Errorf("exp - iat is %v", got)
		}
	}
	ttl := 1081 * time.Second
	_, err := build(t, asc(), Request{TTL: &ttl})
	if diff := cmp.Diff([]Violation{{"ttl", "is over 1080s, which needs the claim scope"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}
	_, err = build(t, asc(), Request{TTL: &ttl, Claims: scopeOf("GET /v1/apps")})
	want := []Violation{{"claims.scope", "item 0 names a resource that App Store Connect gives no long-lived tokens for; the limit is then 1080s"}}
	if diff := cmp.Diff(want, violations(t, err)); diff != "" {
		t.Error(diff)
	}
}

func TestASCGives180DaysForTheThirteenResourcesAlone(t *testing.T) {
	ttl := 180*day - time.Minute
	set, err := build(t, asc(), Request{TTL: &ttl, Claims: scopeOf("GET /v1/ciProducts", "GET /v1/ciWorkflows/12?limit=2")})
	if err != nil {
		t.Fatal(err)
	}
	if got := set.ExpireTime().Sub(set.IssueTime()); got != 180*day {
		t.Errorf("exp - iat is %v", got)
	}

	ttl += time.Second
	p := asc()
	p.MaxTTL = 365 * day
	_, err = build(t, p, Request{TTL: &ttl, Claims: scopeOf("GET /v1/ciProducts")})
	if diff := cmp.Diff([]Violation{{"ttl", "is over the limit of 15551940s"}}, violations(t, err)); diff != "" {
		t.Error(diff)
	}

	ttl = day
	_, err = build(t, asc(), Request{TTL: &ttl, Claims: scopeOf("GET /v1/ciProducts", "GET /v1/apps")})
	want := []Violation{{"claims.scope", "item 1 names a resource that App Store Connect gives no long-lived tokens for; the limit is then 1080s"}}
	if diff := cmp.Diff(want, violations(t, err)); diff != "" {
		t.Error(diff)
	}
}

// The scope may be the profile's own, fixed.
func TestASCLongLivedByAFixedScope(t *testing.T) {
	ttl := day
	for fixed, ok := range map[string]bool{
		`["GET /v1/ciProducts"]`:                true,
		`["GET /v1/ciProducts","GET /v1/apps"]`: false,
		`"GET /v1/apps"`:                        false,
		`"POST /v1/ciProducts"`:                 false,
		`[]`:                                    false,
		`{}`:                                    false,
		`[1]`:                                   false,
	} {
		p := asc()
		p.Rules["scope"] = Rule{Fixed: []byte(fixed)}
		if _, err := build(t, p, Request{TTL: &ttl}); (err == nil) != ok {
			t.Errorf("%s: %v", fixed, err)
		}
	}
}

// A scope that is a plain string is checked like a list of one.
func TestLongLivedChecksAStringToo(t *testing.T) {
	p, ttl := asc(), day
	p.Rules["scope"] = Rule{Caller: &CallerRule{Type: "string_or_list", MaxLength: 1024, MaxItems: 64}}
	if _, err := build(t, p, Request{TTL: &ttl, Claims: `{"scope":"GET /v1/apps"}`}); err == nil {
		t.Error("a string of another resource got a long-lived token")
	}
	if _, err := build(t, p, Request{TTL: &ttl, Claims: `{"scope":"GET /v1/ciProducts"}`}); err != nil {
		t.Error(err)
	}
}

func TestASCLongLivedResources(t *testing.T) {
	for resource, paths := range map[string][]string{
		"Build Actions":  {"/v1/ciBuildActions", "/v1/ciBuildActions/1", "/v1/ciBuildActions/1/artifacts"},
		"Build Runs":     {"/v1/ciBuildRuns", "/v1/ciBuildRuns/1/actions"},
		"Git References": {"/v1/scmGitReferences", "/v1/scmGitReferences/1"},
		"Issues":         {"/v1/ciIssues", "/v1/ciIssues/1"},
		"macOS Versions": {"/v1/ciMacOsVersions", "/v1/ciMacOsVersions/1/xcodeVersions"},
		"Products":       {"/v1/ciProducts", "/v1/ciProducts?limit=200&include=app", "/v1/ciProducts/1/workflows"},
		"Providers":      {"/v1/scmProviders", "/v1/scmProviders/1/repositories"},
		"Power and Performance Metrics and Logs": {
			"/v1/apps/123/perfPowerMetrics", "/v1/builds/123/perfPowerMetrics?filter[metricType]=HANG",
			"/v1/builds/123/diagnosticSignatures", "/v1/diagnosticSignatures/123/logs",
		},
		"Pull Requests":  {"/v1/scmPullRequests", "/v1/scmPullRequests/1"},
		"Repositories":   {"/v1/scmRepositories", "/v1/scmRepositories/1/gitReferences"},
		"Test Results":   {"/v1/ciTestResults", "/v1/ciTestResults/1"},
		"Workflows":      {"/v1/ciWorkflows", "/v1/ciWorkflows/1/buildRuns"},
		"Xcode Versions": {"/v1/ciXcodeVersions", "/v1/ciXcodeVersions/1/macOsVersions"},
	} {
		for _, path := range paths {
			if err := ascLongLived("GET " + path); err != nil {
				t.Errorf("%s: %s: %v", resource, path, err)
			}
			plain, _, _ := strings.Cut(path, "?")
			for _, miss := range []string{
				strings.Replace(plain, "/v1/", "/v2/", 1),
				strings.Replace(plain, "/v1/", "/v1/x/", 1),
				strings.Replace(plain, "/v1/", "/", 1),
				strings.ToUpper(plain), strings.ToLower(plain),
				plain + "X", plain + "/", plain + "/..", plain + "/../../apps", plain + "%2f1", plain + "\x00",
			} {
				// A longer last segment is only another resource where it is
				// not an id or a relation of this one.
				under := miss == plain+"X" && (strings.HasPrefix(plain, "/v1/ci") || strings.HasPrefix(plain, "/v1/scm")) && strings.Count(plain, "/") > 2
				if err := ascLongLived("GET " + miss); (err == nil) != under {
					t.Errorf("%s: near miss %q: %v", resource, miss, err)
				}
			}
		}
	}
	for _, path := range []string{
		"/v1/apps", "/v1/apps/123", "/v1/apps/123/builds", "/v1/apps//perfPowerMetrics", "/v1/apps/1/2/perfPowerMetrics",
		"/v1/apps/./perfPowerMetrics", "/v1/apps/123/perfPowerMetrics/1", "/v1/perfPowerMetrics", "/v1/builds", "/v1/builds/1",
		"/v1/diagnosticSignatures", "/v1/diagnosticSignatures/1", "/v1/users", "/v1/apps?x=/v1/ciProducts",
	} {
		if err := ascLongLived("GET " + path); err == nil {
			t.Errorf("%s is long-lived", path)
		}
	}
}

func TestASCScope(t *testing.T) {
	const (
		method = `does not start with "GET "; App Store Connect accepts no other method in a scope`
		path   = `has no path such as /v1/apps after "GET "`
		query  = `has no well-formed query after its "?"`
	)
	for _, tt := range []struct{ entry, want string }{
		{"GET /v1/apps", ""},
		{"GET /v1/apps/123/builds", ""},
		{"GET /v2/inAppPurchases/1", ""},
		{"GET /v1/apps?filter[platform]=IOS", ""},
		{"GET /v1/apps?filter[name]=a%20b&limit=2&sort=-name,x", ""},
		{"GET /v1/a..b/.c", ""},

		{"", method},
		{"GET", method},
		{"get /v1/apps", method},
		{"POST /v1/apps", method},
		{"DELETE /v1/apps", method},
		{"PATCH /v1/apps", method},
		{"HEAD /v1/apps", method},
		{"* /v1/apps", method},
		{" GET /v1/apps", method},
		{"GET\t/v1/apps", method},
		{"/v1/apps", method},

		{"GET ", path},
		{"GET  /v1/apps", path},
		{"GET v1/apps", path},
		{"GET /", path},
		{"GET /v1", path},
		{"GET /v1/", path},
		{"GET /v0/apps", path},
		{"GET /v01/apps", path},
		{"GET /v100/apps", path},
		{"GET /V1/apps", path},
		{"GET /apps", path},
		{"GET //v1/apps", path},
		{"GET /v1//apps", path},
		{"GET /v1/apps/", path},
		{"GET /v1/apps ", path},
		{"GET /v1/apps /v1/users", path},
		{"GET /v1/*", path},
		{"GET /v1/apps/..", path},
		{"GET /v1/../v1/apps", path},
		{"GET /v1/apps/../users", path},
		{"GET /v1/./apps", path},
		{"GET /v1/apps/.", path},
		{"GET /v1/%61pps", path},
		{"GET /v1/apps%2f..", path},
		{"GET /v1/%2e%2e/users", path},
		{`GET /v1\apps`, path},
		{"GET /v1/äpps", path},
		{"GET /v1/apps#x", path},
		{"GET /v1/apps;x=1", path},
		{"GET https://api.appstoreconnect.apple.com/v1/apps", path},
		{"GET //evil.example/v1/apps", path},

		{"GET /v1/apps?", query},
		{"GET /v1/apps?a b", query},
		{"GET /v1/apps?a=1#x", query},
		{"GET /v1/apps?a=%zz", query},
		{"GET /v1/apps?a=%2", query},
		{"GET /v1/apps?a;b", query},
		{`GET /v1/apps?a="x"`, query},
		{"GET /v1/apps?a=ü", query},
		{"GET /v1/apps?a=\u202e", query},
		{"GET /v1/apps?a\nGET /v1/users", query},
	} {
		t.Run(tt.entry, func(t *testing.T) {
			if got := fmt.Sprint(ascScope(tt.entry)); got != orNil(tt.want) {
				t.Errorf("%s, want %s", got, orNil(tt.want))
			}
		})
	}
}

func orNil(s string) string {
	if s == "" {
		return "<nil>"
	}
	return s
}

func TestASCRefusesScopes(t *testing.T) {
	long := make([]string, 65)
	for i := range long {
		long[i] = fmt.Sprintf("GET /v1/apps/%d", i)
	}
	for _, tt := range []struct{ name, claims, want string }{
		{"an empty list", `{"scope":[]}`, "is an empty list"},
		{"a string", `{"scope":"GET /v1/apps"}`, "is of type string; the profile takes an array of strings"},
		{"null", `{"scope":null}`, "is of type null; the profile takes an array of strings"},
		{"an array of arrays", `{"scope":[["GET /v1/apps"]]}`, "is of type array; the profile takes an array of strings"},
		{"a mixed array", `{"scope":["GET /v1/apps",1]}`, "is of type array; the profile takes an array of strings"},
		{"an object", `{"scope":{"0":"GET /v1/apps"}}`, "is of type object; the profile takes an array of strings"},
		{"POST", scopeOf("GET /v1/apps", "POST /v1/apps"), `item 1 does not start with "GET "; App Store Connect accepts no other method in a scope`},
		{"the same twice", scopeOf("GET /v1/apps", "GET /v1/apps"), "item 1 stands twice"},
		{"65 items", scopeOf(long...), "has more than 64 items"},
		{"an item of 1,025 bytes", scopeOf("GET /v1/" + strings.Repeat("a", 1017)), "item 0 is longer than 1024 bytes"},
		{"a line feed", scopeOf("GET /v1/apps\n"), "item 0 holds a control character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := build(t, asc(), Request{Claims: tt.claims})
			if diff := cmp.Diff([]Violation{{"claims.scope", tt.want}}, violations(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
