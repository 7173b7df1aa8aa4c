package config

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends/backendtest"
	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

func TestEveryPresetIsOneThatProfilesCanStartFrom(t *testing.T) {
	presets, err := loadPresets()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = fs.WalkDir(presetFiles, "presets", func(_ string, entry fs.DirEntry, err error) error {
		if !entry.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != len(presets) {
		t.Errorf("%d files, %d presets, %v", files, len(presets), err)
	}
	for name, preset := range presets {
		var c checker
		for claim, rule := range preset.GetClaims() {
			if err := claims.CheckName(claim); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if rule.GetConfigured() != nil {
				c.callerRule(strictyaml.Path{claim}, rule.GetConfigured(), "string")
			} else if err := claims.CheckRule(claim, c.rule(strictyaml.Path{claim}, rule, "string")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, p := range c.problems {
			t.Errorf("%s: %v: %s", name, p.At, p.Text)
		}
		life, back := preset.GetMaxLifetime().AsDuration(), preset.GetBackdate().AsDuration()
		if ttl := preset.GetDefaultTtl().AsDuration(); ttl <= 0 || life > 0 && ttl+back > life {
			t.Errorf("%s: default_ttl %v and backdate %v, of %v", name, ttl, back, life)
		}
		if life == 0 && preset.GetDefaultMaxTtl() == nil {
			t.Errorf("%s: no limit: neither max_lifetime nor default_max_ttl", name)
		}
		if long := preset.GetLongLived(); long != nil && (preset.GetClaims()[long.GetClaim()] == nil || long.GetMaxLifetime().AsDuration() <= life) {
			t.Errorf("%s: long_lived is none", name)
		}
		for _, source := range preset.GetSources() {
			if !strings.HasPrefix(source, "https://") {
				t.Errorf("%s: source %s", name, source)
			}
		}
	}
}

// named finds presets in documents and examples: `preset: jwt` and, in prose,
// - `jwt`: at the head of an item.
var named = regexp.MustCompile("(?m)preset: [\"']?([a-z][a-z0-9/_-]*)[\"']? *(?:[,}]|$)|^[/ ]*- `((?:jwt|[a-z]+/[a-z-]+))`:")

func TestEveryPresetNamedInTheDocumentsExists(t *testing.T) {
	presets, err := loadPresets()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..", "..")
	files := []string{filepath.Join(root, "proto/jotsmith/config/v1/config.proto"), filepath.Join(root, "README.md")}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(file string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(file) == ".md" && !entry.IsDir() {
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	inProto := map[string]bool{}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(data, -1) {
			name := string(m[1]) + string(m[2])
			if presets[name] == nil {
				t.Errorf("%s names the preset %q, which is not there", file, name)
			}
			if i == 0 {
				inProto[name] = true
			}
		}
	}
	for name := range presets {
		if !inProto[name] {
			t.Errorf("the comment of Profile.preset does not name %s", name)
		}
	}
}

// mint makes the token of a profile at a fixed clock, with a UUID of zeros, and
// returns its header and claims set as they were signed.
func mint(t *testing.T, c *Config, profile, callersClaims string, ttl time.Duration) string {
	t.Helper()
	uid := uint32(1000)
	grant, err := policy.New([]policy.Rule{{
		Name: "test", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{profile},
	}}).Decide(authn.FromUnix(authn.Unix{UID: uid}), profile)
	if err != nil {
		t.Fatal(err)
	}
	req := claims.Request{Claims: callersClaims}
	if ttl > 0 {
		req.TTL = &ttl
	}
	clock := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	set, err := claims.New(c.ClaimProfiles, bytes.NewReader(make([]byte, 16))).Build(grant, req, clock)
	if err != nil {
		t.Fatal(err)
	}

	stores := map[string]signer.Store{}
	for _, k := range c.SigningKeys {
		stores[k.Store] = signer.Store{Backend: backendtest.NewFake(t, k.ID), MaxInFlight: 1, MaxQueue: 1}
	}
	sign, err := signer.New(signer.Config{
		Stores: stores, Keys: c.SigningKeys, Timeout: 10 * time.Second, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sign.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	signed, err := sign.Sign(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := token.Decode(signed.Token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded.Header) + "\n" + string(decoded.Claims) + "\n"
}

// What a profile of each preset signs, byte for byte.
func TestPresetsSignTheseBytes(t *testing.T) {
	const (
		asc = `{asc: {key: k, preset: apple/app-store-connect-team, max_ttl: 4319h, claims: {iss: {fixed: 57246542-96fe-1a63-e053-0824d011072a}}}}`
		jwt = `{jwt: {key: k, preset: jwt, typ: at+jwt, backdate: 10s, claims: {iss: {fixed: "https://issuer.example"}, aud: {fixed: [b, a]},
		  nbf: {computed: not_before}, jti: {computed: uuid}, sub: {caller: {required: true}}, n: {caller: {type: integer}},
		  roles: {caller: {type: string_list}}, extra: {fixed: {z: 1.50, a: [1e2, "<&>", null, ü], m: {}}}}}}`
		plain = `{jwt: {key: k, preset: jwt, typ: none, claims: {iss: {fixed: i}, aud: {fixed: a}}}}`
	)
	for _, tt := range []struct {
		name, profiles, profile, claims string
		ttl                             time.Duration
	}{
		{"asc", asc, "asc", "", 0},
		{"asc-longest", asc, "asc", "", 1080 * time.Second},
		{"asc-scope", asc, "asc", `{"scope":["GET /v1/apps?filter[platform]=IOS","GET /v1/builds"]}`, 0},
		{"asc-long-lived", asc, "asc", `{"scope":["GET /v1/ciProducts"]}`, 4319 * time.Hour},
		{"jwt", jwt, "jwt", `{"roles":["b","a"],"n":-7,"sub":"J\u00fcrgen\/\u2028\""}`, time.Hour},
		{"jwt-plain", plain, "jwt", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("test.yaml", []byte(`listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {k: {backend: files, id: k.pem, kid: 2X9R4HXF34}}
profiles: `+tt.profiles), checkURI)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "signed", tt.name+".yaml"), ".txt", mint(t, c, tt.profile, tt.claims, tt.ttl))
		})
	}
}
