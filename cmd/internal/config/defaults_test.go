package config

import (
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

func loadGood(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Load("testdata/"+name+".good.yaml", checkURI)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := loadGood(t, "minimal")
	want := &configv1.Config{
		Listeners: []*configv1.Listener{{Kind: &configv1.Listener_Unix{Unix: &configv1.UnixListener{Path: "/run/jotsmith.sock", Mode: "0660"}}}},
		Backends: map[string]*configv1.Backend{"files": {
			Uri: "file:/etc/jotsmith/keys", MaxQueue: 16384, MinTime: durationpb.New(100 * time.Millisecond),
		}},
		Limits: &configv1.Limits{
			RequestTimeout: durationpb.New(10 * time.Second), ShutdownGrace: durationpb.New(30 * time.Second),
			MaxConnections: 4096, MaxStreamsPerConnection: 128, MaxCalls: 16384,
			TokenCacheMib: 64, MaxWatchesPerCaller: 64, MaxWatches: 16384,
		},
		Log: &configv1.Log{Level: "info", Format: "json"},
	}
	if diff := cmp.Diff(want, c.Config, protocmp.Transform(), protocmp.IgnoreFields(want, "keys", "profiles")); diff != "" {
		t.Error(diff)
	}
	if c.GetReflection() {
		t.Error("reflection is on")
	}
	asc, jwt := c.ClaimProfiles[0], c.ClaimProfiles[1]
	if asc.Typ != "JWT" || asc.DefaultTTL != 10*time.Minute || asc.MaxTTL != 18*time.Minute || asc.Backdate != time.Minute || asc.MaxLifetime != 19*time.Minute {
		t.Errorf("%+v", asc)
	}
	if jwt.Typ != "JWT" || jwt.DefaultTTL != 5*time.Minute || jwt.MaxTTL != time.Hour || jwt.Backdate != 0 || jwt.MaxLifetime != 0 || jwt.LongLived != nil {
		t.Errorf("%+v", jwt)
	}
	if asc.Reuse.Mode != claims.UntilRefresh || jwt.Reuse.Mode != claims.UntilRefresh || asc.OmitKID || jwt.AnswerPublicKey || len(jwt.Header) != 0 {
		t.Errorf("%+v and %+v", asc, jwt)
	}
	if want := (&claims.LongLived{Claim: "scope", Check: claims.CheckASCLongLived, MaxLifetime: 180 * 24 * time.Hour}); !cmp.Equal(want, asc.LongLived) {
		t.Errorf("%+v", asc.LongLived)
	}
	scope := asc.Rules["scope"].Caller
	if scope == nil || scope.Type != "string_list" || scope.Required || scope.MaxLength != 1024 || scope.MaxItems != 64 || scope.Check != claims.CheckASCScope {
		t.Errorf("%+v", scope)
	}
	if len(c.PolicyRules) != 0 {
		t.Errorf("grants from nothing: %+v", c.PolicyRules)
	}
}

func TestWhatIsSetIsKept(t *testing.T) {
	c := loadGood(t, "full")
	if got := c.GetBackends()["kms"]; got.GetMaxInFlight() != 8 || got.GetMaxQueue() != 16 || got.GetMinTime().AsDuration() != 250*time.Millisecond {
		t.Errorf("%v", got)
	}
	if got := c.GetBackends()["hsm"].GetMinTime(); got == nil || got.AsDuration() != 0 {
		t.Errorf("a min_time of 0s became %v", got)
	}
	if got := c.GetLimits().GetShutdownGrace(); got == nil || got.AsDuration() != 0 {
		t.Errorf("a shutdown_grace of 0s became %v", got)
	}

	in := func(store, id string) []signer.Member { return []signer.Member{{Store: store, ID: id}} }
	spki, _ := hex.DecodeString("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
	if diff := cmp.Diff([]signer.Key{
		{Name: "apple", Members: in("files", "AuthKey_2X9R4HXF34.p8"), KID: "2X9R4HXF34", VerifyAlways: true},
		{Name: "hsm-1", Members: in("hsm", "object=jwt"), KID: "hsm-1"},
		{Name: "sampled", Members: in("files", "other.pem"), KID: "other"},
		{Name: "svc", Members: in("kms", "alias/svc"), KID: "svc-1", SPKISHA256: spki, VerifyAlways: true},
	}, c.SigningKeys); diff != "" {
		t.Error(diff)
	}

	if diff := cmp.Diff([]policy.Rule{
		{Name: "ci", Profiles: []string{"svc", "mobile/asc"}, Callers: []policy.Match{
			{Unix: &policy.UnixMatch{UID: new(uint32(0))}}, {Unix: &policy.UnixMatch{UID: new(uint32(1000)), GID: new(uint32(1000))}}, {Unix: &policy.UnixMatch{GID: new(uint32(4294967294))}},
		}},
		{Name: "deploy", Profiles: []string{"plain"}, Callers: []policy.Match{
			{URI: "spiffe://example.org/ci/deploy"}, {DNS: "ci.example.org"}, {Email: "ci@example.org"},
		}},
	}, c.PolicyRules); diff != "" {
		t.Error(diff)
	}

	profiles := map[string]claims.Profile{}
	for _, p := range c.ClaimProfiles {
		profiles[p.Name] = p
	}
	asc := profiles["mobile/asc"]
	if asc.Key != "apple" || asc.DefaultTTL != 5*time.Minute || asc.MaxTTL != 15*time.Minute || asc.Backdate != 30*time.Second {
		t.Errorf("%+v", asc)
	}
	if scope := asc.Rules["scope"].Caller; !scope.Required || scope.Type != "string_list" || scope.MaxItems != 1 || scope.Narrows == nil || scope.Narrows.Check != claims.CheckASCScope {
		t.Errorf("%+v", scope)
	}
	if got := string(profiles["mobile/asc-nightly"].Rules["scope"].Fixed); got != `["GET /v1/ciProducts"]` {
		t.Errorf("scope is %s", got)
	}
	if got := string(profiles["svc"].Rules["limits"].Fixed); got != `{"deep":{"x":[true,false,-7]},"hosts":["a","b"],"off":null,"rate":1.5}` {
		t.Errorf("limits is %s", got)
	}
	if got := profiles["plain"].Typ; got != "" {
		t.Errorf("typ none became %q", got)
	}
}

func TestMembersAreKeptInTheirOrder(t *testing.T) {
	spki, _ := hex.DecodeString("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
	if diff := cmp.Diff([]signer.Key{
		{Name: "alone", Members: []signer.Member{{Store: "east", ID: "alone"}}},
		{Name: "sampled", Members: []signer.Member{{Store: "files", ID: "a.pem"}, {Store: "copies", ID: "a.pem"}}, KID: "a"},
		{Name: "tokens", Members: []signer.Member{{Store: "west", ID: "mrk-1"}, {Store: "east", ID: "mrk-1"}}, SPKISHA256: spki},
	}, loadGood(t, "members").SigningKeys); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsAreKeysOfOneNameAndRotateByTheirProfilesLimits(t *testing.T) {
	c := loadGood(t, "versions")
	var all []string
	for _, k := range c.SigningKeys {
		all = append(all, fmt.Sprint(k.Label(), " ", k.Members, " ", k.KID, " ", k.VerifyAlways))
	}
	if diff := cmp.Diff([]string{
		"asc, version 1 [{files AuthKey_2X9R4HXF34.p8}] 2X9R4HXF34 true", "asc, version 2 [{files AuthKey_7Y8Z4HXF35.p8}] 7Y8Z4HXF35 true",
		"orders, version 1 [{hsm object=orders-1}]  false", "orders, version 2 [{hsm object=orders-2}] second false",
		"orders, version 3 [{east mrk-1} {west mrk-1}]  false", "push, version 1 [{files push.pem}]  false",
	}, all); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]Rotation{
		"orders": {VerifierCache: time.Hour, Every: 90 * 24 * time.Hour, Longest: time.Hour}, // of refunds
		"asc":    {Longest: 18 * time.Minute},                                                // Apple is given each key
		"push":   {VerifierCache: 24 * time.Hour, Longest: 20 * time.Minute},
	}, c.Rotations); diff != "" {
		t.Error(diff)
	}
}

// YAML takes 0600 for a number, of base 8 or of base 10.
func TestModeWithoutQuotesIsAsItIsWritten(t *testing.T) {
	c, err := Parse("test.yaml", []byte(`listeners: [{unix: {path: /run/jotsmith.sock, mode: 0600}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {k: {backend: files, id: k.pem, kid: 0123}}
profiles: {a: {key: k, preset: jwt, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
`), checkURI)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.GetListeners()[0].GetUnix().GetMode(); got != "0600" {
		t.Errorf("mode %s", got)
	}
	if got := c.SigningKeys[0].KID; got != "0123" {
		t.Errorf("kid %s", got)
	}
}

// A profile whose max_ttl is below the preset's default_ttl has that as its
// default too.
func TestLoweredLimitLowersTheDefault(t *testing.T) {
	c, err := Parse("test.yaml", []byte(`listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {k: {backend: files, id: k.pem, kid: k}}
profiles: {a: {key: k, preset: jwt, max_ttl: 1m, claims: {iss: {fixed: i}, aud: {fixed: a}}}}
`), checkURI)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.ClaimProfiles[0]; p.DefaultTTL != time.Minute || p.MaxTTL != time.Minute {
		t.Errorf("%+v", p)
	}
}

func TestGenerationNamesTheContent(t *testing.T) {
	data, err := os.ReadFile("testdata/minimal.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, text := range []string{string(data), string(data) + "\n", string(data) + "# \n"} {
		c, err := Parse("x.yaml", []byte(text), checkURI)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("y.yaml", []byte(text), checkURI)
		if err != nil || again.Generation != c.Generation {
			t.Errorf("%v and %v, %v", c.Generation, again.Generation, err)
		}
		if seen[c.Generation] || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(c.Generation) {
			t.Errorf("generation %q", c.Generation)
		}
		seen[c.Generation] = true
	}
}

func TestSecretsInAFileAreNotInItsErrors(t *testing.T) {
	for _, text := range []string{
		"backends: {hsm: {uri: \"pkcs11:token=prod?pin-value=hunter2\", pin: hunter2}}\n",
		"backends: {hsm: \"pkcs11:token=prod?pin-value=hunter2\"}\n",
		"backends: {hsm: {uri: [\"pkcs11:pin-value=hunter2\"]}}\n",
		"listeners: [{unix: {path: /a}}]\nbackends: {hsm: {uri: \"pkcs11:token=prod?pin-value=hunter2\"}}\n" +
			"keys: {k: {backend: hsm, id: object=k, kid: k}}\nprofiles: {a: {key: k, preset: jwt, claims: {iss: {fixed: i}, aud: {fixed: a}}}}\n",
	} {
		_, err := Parse("x.yaml", []byte(text), checkURI)
		if err == nil || regexp.MustCompile("hunter2").MatchString(err.Error()) {
			t.Errorf("%v", err)
		}
	}
}
