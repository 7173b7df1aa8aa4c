package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/backends/filekey"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

// noon is when the tokens are made, unless a case says otherwise.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// What the profiles of the tests have in common.
const (
	issuer = `iss: {fixed: 57246542-96fe-1a63-e053-0824d011072a}`
	team   = `iss: {fixed: DEF123GHIJ}`
	bundle = `bid: {fixed: com.example.testbundleid2021}`
)

// specimen is one request to a profile of a preset.
type specimen struct {
	name    string // of the golden file
	preset  string
	profile string // the profile's YAML beside its key and preset
	claims  string
	ttl     time.Duration
	at      time.Time // noon if it is zero
}

// specimens are of every preset, for each form that its tokens take.
var specimens = []specimen{
	{name: "asc-team", preset: "apple/app-store-connect-team", profile: `claims: {` + issuer + `}`},
	{name: "asc-team-longest", preset: "apple/app-store-connect-team", profile: `claims: {` + issuer + `}`, ttl: 1080 * time.Second},
	{
		name: "asc-team-scope", preset: "apple/app-store-connect-team", profile: `claims: {` + issuer + `}`,
		claims: `{"scope":["GET /v1/apps?filter[platform]=IOS","GET /v1/builds"]}`,
	},
	{
		name: "asc-team-long-lived", preset: "apple/app-store-connect-team", profile: `max_ttl: 4319h, claims: {` + issuer + `}`,
		claims: `{"scope":["GET /v1/ciProducts"]}`, ttl: 4319 * time.Hour,
	},
	{name: "asc-individual", preset: "apple/app-store-connect-individual"},
	{
		name: "asc-individual-long-lived", preset: "apple/app-store-connect-individual", profile: `max_ttl: 4319h`,
		claims: `{"scope":["GET /v1/ciProducts"]}`, ttl: 4319 * time.Hour,
	},
	{name: "enterprise", preset: "apple/enterprise-program", profile: `claims: {` + issuer + `}`},
	{
		name: "enterprise-scope", preset: "apple/enterprise-program", profile: `claims: {` + issuer + `}`,
		claims: `{"scope":["GET /v1/bundleIds?filter[platform]=IOS"]}`,
	},
	{name: "app-store-server", preset: "apple/app-store-server", profile: `claims: {` + issuer + `, ` + bundle + `}`},
	{name: "app-store-server-longest", preset: "apple/app-store-server", profile: `claims: {` + issuer + `, ` + bundle + `}`, ttl: 3570 * time.Second},
	{
		name: "storekit-promotional-offer", preset: "apple/storekit-jws", profile: storekit("promotional-offer"),
		claims: `{"productId":"com.example.plus","offerIdentifier":"spring","transactionId":"2000000123456789"}`,
	},
	{
		name: "storekit-promotional-offer-least", preset: "apple/storekit-jws", profile: storekit("promotional-offer"),
		claims: `{"offerIdentifier":"spring","productId":"com.example.plus"}`,
	},
	{
		name: "storekit-introductory-offer", preset: "apple/storekit-jws", profile: storekit("introductory-offer-eligibility"),
		claims: `{"productId":"com.example.plus","allowIntroductoryOffer":false,"transactionId":"2000000123456789"}`,
	},
	{
		name: "storekit-advanced-commerce", preset: "apple/storekit-jws", profile: storekit("advanced-commerce-api"),
		claims: `{"request":"` + base64.StdEncoding.EncodeToString([]byte(`{"operation":"CREATE_ONE_TIME_CHARGE","version":"1"}`)) + `"}`,
	},
	{name: "apns", preset: "apple/apns", profile: `claims: {` + team + `}`, at: noon.Add(time.Minute)},
	{name: "apns-same-window", preset: "apple/apns", profile: `claims: {` + team + `}`, at: noon.Add(30*time.Minute + 59*time.Second)},
	{name: "apns-next-window", preset: "apple/apns", profile: `claims: {` + team + `}`, at: noon.Add(31 * time.Minute)},
	{name: "sign-in", preset: "apple/sign-in-client-secret", profile: `claims: {` + team + `, sub: {fixed: com.mytest.app}}`},
	{
		name: "sign-in-longest", preset: "apple/sign-in-client-secret",
		profile: `max_ttl: 15777000s, claims: {` + team + `, sub: {fixed: com.mytest.app}}`, ttl: 15777000 * time.Second,
	},
	{name: "maps", preset: "apple/maps", profile: `claims: {` + team + `}`},
	{name: "maps-origin", preset: "apple/maps", profile: `claims: {` + team + `}`, claims: `{"origin":"https://www.example.com"}`},
	{name: "weatherkit", preset: "apple/weatherkit", profile: `claims: {` + team + `, sub: {fixed: com.example.weatherkit-client}}`},
	{name: "musickit", preset: "apple/musickit", profile: `claims: {` + team + `}`},
	{
		name: "musickit-origin", preset: "apple/musickit", profile: `claims: {` + team + `}`,
		claims: `{"origin":["https://example.com","https://music.example.com"]}`,
	},
	{
		name: "musickit-longest", preset: "apple/musickit", profile: `max_ttl: 15777000s, claims: {` + team + `}`,
		ttl: 15777000 * time.Second,
	},
	{name: "device-check", preset: "apple/device-check", profile: `claims: {` + team + `}`},
	{name: "business-manager", preset: "apple/business-manager", profile: `claims: {sub: {fixed: BUSINESSAPI.9703f56c-10ce-4876-8f59-e78e5e23a152}}`},
	{
		name: "school-manager-longest", preset: "apple/business-manager",
		profile: `max_ttl: 15551940s, claims: {sub: {fixed: SCHOOLAPI.9703f56c-10ce-4876-8f59-e78e5e23a152}}`, ttl: 15551940 * time.Second,
	},
	{
		name: "private-key-jwt", preset: "oauth/private-key-jwt",
		profile: `claims: {sub: {fixed: s6BhdRkqt3}, aud: {fixed: "https://as.example/token"}}`,
	},
	{
		name: "vapid", preset: "vapid", profile: `claims: {sub: {fixed: "mailto:push@example.com"}}`,
		claims: `{"aud":"https://push.example.net"}`,
	},
	{
		name: "vapid-longest", preset: "vapid", profile: `claims: {sub: {fixed: "https://example.com/contact"}}`,
		claims: `{"aud":"https://push.example.net:8443"}`, ttl: 24 * time.Hour,
	},
	{name: "cdp", preset: "coinbase/cdp"},
	{
		name: "cdp-uris", preset: "coinbase/cdp",
		claims: `{"uris":["GET api.cdp.coinbase.com/platform/v2/evm/accounts"]}`,
	},
	{
		name: "jwt", preset: "jwt",
		profile: `typ: at+jwt, backdate: 10s, claims: {iss: {fixed: "https://issuer.example"}, aud: {fixed: [b, a]},
		  nbf: {computed: not_before}, jti: {computed: uuid}, sub: {caller: {required: true}}, n: {caller: {type: integer}},
		  roles: {caller: {type: string_list}}, extra: {fixed: {z: 1.50, a: [1e2, "<&>", null, ü], m: {}}}}`,
		claims: `{"roles":["b","a"],"n":-7,"sub":"J\u00fcrgen\/\u2028\""}`, ttl: time.Hour,
	},
	{name: "jwt-plain", preset: "jwt", profile: `typ: none, claims: {iss: {fixed: i}, aud: {fixed: a}}`},
	{name: "jwt-list-of-one", preset: "jwt", profile: `claims: {iss: {fixed: i}, aud: {fixed: [a]}}`},
	{
		name: "jwt-header", preset: "jwt",
		profile: `header: {tenant: {template: "{iss}/{kid}"}, nonce: {computed: nonce}}, claims: {iss: {fixed: i}, aud: {fixed: a}}`,
	},
}

func storekit(feature string) string {
	return `claims: {` + issuer + `, ` + bundle + `, aud: {fixed: ` + feature + `}}`
}

// parseProfile reads a file with one profile, p, of a preset.
func parseProfile(preset, profile string) (*Config, error) {
	kid := "2X9R4HXF34"
	if preset == "coinbase/cdp" {
		kid = "organizations/0ec2de1b-b0a8-4ac6-9f65-4a2dd4c02f9a/apiKeys/f6b8a1c5-28b4-4a6f-8d57-1e3a9d6b7c20"
	}
	if profile != "" {
		profile = ", " + profile
	}
	return Parse("test.yaml", []byte(`listeners: [{unix: {path: /run/jotsmith.sock}}]
backends: {files: {uri: "file:/etc/jotsmith/keys"}}
keys: {k: {backend: files, id: k.pem, kid: `+kid+`}}
profiles: {p: {key: k, preset: `+preset+profile+`}}
`), checkURI)
}

// config reads the file of the specimen's profile.
func (s specimen) config(t *testing.T) *Config {
	t.Helper()
	c, err := parseProfile(s.preset, s.profile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// prepare has the request approved, with a source of randomness that gives
// zeros.
func (s specimen) prepare(t *testing.T, c *Config) (claims.Draft, error) {
	t.Helper()
	uid := uint32(1000)
	grant, err := policy.New([]policy.Rule{{
		Name: "test", Callers: []policy.Match{{Unix: &policy.UnixMatch{UID: &uid}}}, Profiles: []string{"p"},
	}}).Decide(authn.FromUnix(authn.Unix{UID: uid}), "p")
	if err != nil {
		t.Fatal(err)
	}
	req := claims.Request{Claims: s.claims}
	if s.ttl != 0 {
		req.TTL = &s.ttl
	}
	return claims.New(c.ClaimProfiles, bytes.NewReader(make([]byte, 256))).Prepare(grant, req)
}

// approved returns what the signer gets.
func (s specimen) approved(t *testing.T, c *Config) claims.Set {
	t.Helper()
	draft, err := s.prepare(t, c)
	if err != nil {
		t.Fatal(err)
	}
	at := s.at
	if at.IsZero() {
		at = noon
	}
	set, err := draft.At(at)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// file returns the golden file's name.
func (s specimen) file() string { return filepath.Join("testdata", "signed", s.name+".txt") }

// signed returns the claims set of the golden file.
func (s specimen) signed(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	data, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(bytes.Split(data, []byte("\n"))[1], &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// store is one key in a key store of some kind.
type store struct {
	backend backends.KeyBackend
	id      string
}

// sign returns the header and the claims set as they were signed, each on its
// line, and the public key where the answer has it.
func (s store) sign(t *testing.T, c *Config, set claims.Set) string {
	t.Helper()
	key := c.SigningKeys[0]
	key.Members = []signer.Member{{Store: "s", ID: s.id}}
	sign, err := signer.New(signer.Config{
		Stores: map[string]signer.Store{"s": {Backend: s.backend, MaxInFlight: 1, MaxQueue: 1}},
		Keys:   []signer.Key{key}, Timeout: 10 * time.Second, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
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
	text := string(decoded.Header) + "\n" + string(decoded.Claims) + "\n"
	if c.ClaimProfiles[0].AnswerPublicKey {
		point, err := sign.Point(key.Name)
		if err != nil {
			t.Fatal(err)
		}
		text += "public key " + base64.RawURLEncoding.EncodeToString(point) + "\n"
	}
	return text
}

// theKey is the private key of RFC 7515 appendix A.3.
func theKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	d, err := base64.RawURLEncoding.DecodeString("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// theKeyFile writes theKey and returns its file.
func theKeyFile(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(theKey(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "k.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// theStores hold theKey: one of each kind that there is.
func theStores(t *testing.T) map[string]store {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	file := theKeyFile(t)
	files, err := filekey.Open(t.Context(), "file:"+filepath.Dir(file), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })

	server, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, name := range []string{
		"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CA_BUNDLE", "HTTP_PROXY", "http_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	kms, err := awskms.Open(t.Context(), server.URI("rate=100000"), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kms.Close() })

	stores := map[string]store{"file": {files, "k.pem"}, "awskms": {kms, server.AddKey(theKey(t))}}
	if hsm, ok := softHSM(t, file); ok {
		stores["pkcs11"] = hsm
	}
	return stores
}

// What a profile of each preset signs, byte for byte, wherever its key is.
func TestPresetsSignTheseBytes(t *testing.T) {
	stores := theStores(t)
	for _, s := range specimens {
		t.Run(s.name, func(t *testing.T) {
			c := s.config(t)
			set := s.approved(t, c)
			inFile := stores["file"].sign(t, c, set)
			golden(t, s.file(), "", inFile)
			for kind, store := range stores {
				if diff := cmp.Diff(inFile, store.sign(t, c, set)); diff != "" {
					t.Errorf("%s: %s", kind, diff)
				}
			}
		})
	}
}

func TestEveryPresetHasASpecimenAndEveryFileIsOfOne(t *testing.T) {
	presets, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range specimens {
		if names[s.name] {
			t.Errorf("two specimens are named %s", s.name)
		}
		names[s.name] = true
		delete(presets, s.preset)
	}
	for name := range presets {
		t.Errorf("nothing is signed with the preset %s", name)
	}
	for _, file := range testFiles(t, "signed/*") {
		if !names[strings.TrimSuffix(filepath.Base(file), ".txt")] {
			t.Errorf("%s is of no specimen", file)
		}
	}
}

// Times with a fraction, as text or in milliseconds are what public clients
// have sent and been refused for.
func TestTimesAreWholeSeconds(t *testing.T) {
	for _, s := range specimens {
		values := s.signed(t)
		if s.preset != "vapid" && values["iat"] == nil {
			t.Errorf("%s has no iat", s.name)
		}
		for _, name := range []string{"iat", "nbf", "exp"} {
			if v, ok := values[name]; ok && !wholeSeconds.Match(v) {
				t.Errorf("%s: %s is %s", s.name, name, v)
			}
		}
	}
}

// wholeSeconds is a NumericDate of this century.
var wholeSeconds = regexp.MustCompile(`\A[12][0-9]{9}\z`)

// An array where the consumer documents a string is refused by some of them.
func TestAnAudienceIsAStringUnlessTheProfileSaysOtherwise(t *testing.T) {
	for _, s := range specimens {
		aud := s.signed(t)["aud"]
		if isList := bytes.HasPrefix(aud, []byte("[")); isList != strings.Contains(s.profile, "aud: {fixed: [") {
			t.Errorf("%s: aud is %s", s.name, aud)
		}
	}
}

// Six months are half a year and no six days.
func TestLongTokensLastForMonths(t *testing.T) {
	for _, s := range specimens {
		if s.ttl <= 24*time.Hour {
			continue
		}
		var iat, exp int64
		for name, seconds := range map[string]*int64{"iat": &iat, "exp": &exp} {
			if err := json.Unmarshal(s.signed(t)[name], seconds); err != nil {
				t.Fatal(err)
			}
		}
		if days := (exp - iat) / 86400; days < 179 || days > 182 || exp != noon.Add(s.ttl).Unix() {
			t.Errorf("%s: %d days from iat to exp", s.name, days)
		}
	}
}

func TestReplicasShareOneAPNsTokenForHalfAnHour(t *testing.T) {
	s := specimen{preset: "apple/apns", profile: `claims: {` + team + `}`}
	draft, err := s.prepare(t, s.config(t))
	if err != nil {
		t.Fatal(err)
	}
	for at := noon; at.Before(noon.Add(2 * time.Hour)); at = at.Add(7 * time.Second) {
		set, err := draft.At(at)
		if err != nil {
			t.Fatal(err)
		}
		if age := at.Sub(set.IssueTime()); set.IssueTime().Unix()%1800 != 0 || age < time.Minute || age > 31*time.Minute {
			t.Fatalf("at %v iat is %v", at, set.IssueTime())
		}
		if set.EndTime().Sub(set.IssueTime()) != time.Hour || set.RefreshTime().Sub(set.IssueTime()) != 31*time.Minute {
			t.Fatalf("at %v it ends at %v and is refreshed at %v", at, set.EndTime(), set.RefreshTime())
		}
	}
}
