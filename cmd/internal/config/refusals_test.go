package config

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/claims"
)

// refusal is a request, or a profile, that a preset does not let through.
type refusal struct {
	preset  string
	profile string // the profile's YAML beside its key and preset
	claims  string
	ttl     time.Duration
	field   string // of the only violation; the path of the field where the profile itself is refused
	want    string // in the violation's text
}

const (
	asc        = "apple/app-store-connect-team"
	individual = "apple/app-store-connect-individual"
	enterprise = "apple/enterprise-program"
	server     = "apple/app-store-server"
	jws        = "apple/storekit-jws"
	apns       = "apple/apns"
	signIn     = "apple/sign-in-client-secret"
	appleMaps  = "apple/maps"
	weather    = "apple/weatherkit"
	music      = "apple/musickit"
	device     = "apple/device-check"
	business   = "apple/business-manager"
	assertion  = "oauth/private-key-jwt"
	cdp        = "coinbase/cdp"

	byIssuer = `claims: {` + issuer + `}`
	byTeam   = `claims: {` + team + `}`
	ofApp    = `claims: {` + issuer + `, ` + bundle + `}`
	secret   = `claims: {` + team + `, sub: {fixed: com.mytest.app}}`
	client   = `claims: {sub: {fixed: s6BhdRkqt3}, aud: {fixed: "https://as.example/token"}}`
	account  = `claims: {sub: {fixed: BUSINESSAPI.9703f56c-10ce-4876-8f59-e78e5e23a152}}`
	push     = `claims: {sub: {fixed: "mailto:push@example.com"}}`
	own      = `claims: {iss: {fixed: i}, aud: {fixed: a}}`

	setByProfile = "is set by the profile, not by the caller"
	noClaim      = "is not a claim of this profile"
	noExp        = "cannot be set: tokens of this profile do not expire"
	presetSets   = "the preset sets this claim itself"
)

// seconds makes the limits below read as the documents have them.
func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Each limit of each preset, as requests that go beyond it.
var refusedRequests = []refusal{
	{asc, byIssuer, "", seconds(1081), "ttl", "is over this profile's limit of 1080s"},
	{asc, `backdate: 0s, ` + byIssuer, "", seconds(1141), "ttl", "is over this profile's limit of 1140s"},
	{asc, byIssuer, `{"scope":["POST /v1/apps"]}`, 0, "claims.scope", "item 0 does not start with \"GET \""},
	{asc, byIssuer, `{"scope":"GET /v1/apps"}`, 0, "claims.scope", "takes an array of strings"},
	{asc, byIssuer, `{"scope":[]}`, 0, "claims.scope", "is an empty list"},
	{asc, byIssuer, `{"iss":"57246542-96fe-1a63-e053-0824d011072a"}`, 0, "claims.iss", setByProfile},
	{asc, byIssuer, `{"aud":"appstoreconnect-v1"}`, 0, "claims.aud", setByProfile},
	{asc, byIssuer, `{"exp":1}`, 0, "claims.exp", setByProfile},
	{asc, byIssuer, `{"iat":1}`, 0, "claims.iat", setByProfile},
	{asc, byIssuer, `{"bid":"com.example"}`, 0, "claims.bid", noClaim},
	{asc, byIssuer, `{"scope":["GET /v1/ciProducts"]}`, seconds(1081), "ttl", "is over this profile's limit of 1080s"},
	{asc, `max_ttl: 4319h, ` + byIssuer, "", seconds(1081), "ttl", "is over 1080s, which needs the claim scope"},
	{asc, `max_ttl: 4319h, ` + byIssuer, `{"scope":["GET /v1/ciProducts","GET /v1/apps"]}`, seconds(1081), "claims.scope", "item 1 names a resource that App Store Connect gives no long-lived tokens for; the limit is then 1080s"},
	{asc, `max_ttl: 15551940s, ` + byIssuer, `{"scope":["GET /v1/ciProducts"]}`, seconds(15551941), "ttl", "is over this profile's limit of 15551940s"},

	{individual, "", "", seconds(1081), "ttl", "is over this profile's limit of 1080s"},
	{individual, `backdate: 0s`, "", seconds(1141), "ttl", "is over this profile's limit of 1140s"},
	{individual, "", `{"scope":["POST /v1/apps"]}`, 0, "claims.scope", "item 0 does not start with \"GET \""},
	{individual, "", `{"scope":["GET /v1/apps","GET /v1/profiles"]}`, 0, "claims.scope", "item 1 names a resource of Provisioning or of Sales and Finance"},
	{individual, "", `{"scope":["GET /v1/bundleIds/1/profiles"]}`, 0, "claims.scope", "item 0 names a resource of Provisioning"},
	{individual, "", `{"scope":["GET /v1/salesReports?filter[frequency]=DAILY"]}`, 0, "claims.scope", "or of Sales and Finance"},
	{individual, "", `{"scope":["GET /notary/v2/submissions"]}`, 0, "claims.scope", "has no path such as /v1/apps"},
	{individual, "", `{"iss":"57246542-96fe-1a63-e053-0824d011072a"}`, 0, "claims.iss", noClaim},
	{individual, "", `{"sub":"user"}`, 0, "claims.sub", setByProfile},
	{individual, `max_ttl: 4319h`, "", seconds(1081), "ttl", "is over 1080s, which needs the claim scope"},
	{individual, `max_ttl: 4319h`, `{"scope":["GET /v1/apps"]}`, seconds(1081), "claims.scope", "gives no long-lived tokens for"},
	{individual, `max_ttl: 15551940s`, `{"scope":["GET /v1/ciProducts"]}`, seconds(15551941), "ttl", "is over this profile's limit of 15551940s"},

	{enterprise, byIssuer, "", seconds(1081), "ttl", "is over this profile's limit of 1080s"},
	{enterprise, `backdate: 0s, ` + byIssuer, "", seconds(1141), "ttl", "is over this profile's limit of 1140s"},
	{enterprise, byIssuer, `{"scope":["GET /v1/ciProducts"]}`, seconds(1081), "ttl", "is over this profile's limit of 1080s"},
	{enterprise, byIssuer, `{"scope":["DELETE /v1/profiles/1"]}`, 0, "claims.scope", "item 0 does not start with \"GET \""},
	{enterprise, byIssuer, `{"aud":"appstoreconnect-v1"}`, 0, "claims.aud", setByProfile},

	{server, ofApp, "", seconds(3571), "ttl", "is over this profile's limit of 3570s"},
	{server, `backdate: 0s, ` + ofApp, "", seconds(3601), "ttl", "is over this profile's limit of 3600s"},
	{server, ofApp, `{"bid":"com.example.other"}`, 0, "claims.bid", setByProfile},
	{server, ofApp, `{"nonce":"1"}`, 0, "claims.nonce", noClaim},
	{server, ofApp, `{"scope":["GET /v1/apps"]}`, 0, "claims.scope", noClaim},

	{jws, storekit("promotional-offer"), `{"productId":"p"}`, 0, "claims.offerIdentifier", "is required"},
	{jws, storekit("promotional-offer"), `{"offerIdentifier":"o"}`, 0, "claims.productId", "is required"},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":""}`, 0, "claims.offerIdentifier", "does not match the profile's pattern"},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o","allowIntroductoryOffer":true}`, 0, "claims.allowIntroductoryOffer", noClaim},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o","request":"e30="}`, 0, "claims.request", noClaim},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o","nonce":"00000000-0000-4000-8000-000000000000"}`, 0, "claims.nonce", setByProfile},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o","exp":1}`, 0, "claims.exp", noClaim},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o","aud":"promotional-offer"}`, 0, "claims.aud", setByProfile},
	{jws, storekit("promotional-offer"), `{"productId":"p","offerIdentifier":"o"}`, seconds(1), "ttl", noExp},
	{jws, storekit("introductory-offer-eligibility"), `{"productId":"p","allowIntroductoryOffer":true}`, 0, "claims.transactionId", "is required"},
	{jws, storekit("introductory-offer-eligibility"), `{"productId":"p","transactionId":"1"}`, 0, "claims.allowIntroductoryOffer", "is required"},
	{jws, storekit("introductory-offer-eligibility"), `{"productId":"p","transactionId":"1","allowIntroductoryOffer":"true"}`, 0, "claims.allowIntroductoryOffer", "the profile takes a boolean"},
	{jws, storekit("introductory-offer-eligibility"), `{"productId":"p","transactionId":1,"allowIntroductoryOffer":true}`, 0, "claims.transactionId", "the profile takes a string"},
	{jws, storekit("introductory-offer-eligibility"), `{"productId":"p","transactionId":"1","allowIntroductoryOffer":true,"offerIdentifier":"o"}`, 0, "claims.offerIdentifier", noClaim},
	{jws, storekit("advanced-commerce-api"), "", 0, "claims.request", "is required"},
	{jws, storekit("advanced-commerce-api"), `{"request":{"operation":"x"}}`, 0, "claims.request", "the profile takes a string"},
	{jws, storekit("advanced-commerce-api"), `{"request":"{}"}`, 0, "claims.request", "is not standard base64 with padding"},
	{jws, storekit("advanced-commerce-api"), `{"request":"e30"}`, 0, "claims.request", "is not standard base64 with padding"},
	{jws, storekit("advanced-commerce-api"), `{"request":"` + base64.StdEncoding.EncodeToString([]byte(`["a"]`)) + `"}`, 0, "claims.request", "does not hold a JSON object"},
	{jws, storekit("advanced-commerce-api"), `{"request":"e30=","productId":"p"}`, 0, "claims.productId", noClaim},

	{apns, byTeam, `{"iss":"DEF123GHIJ"}`, 0, "claims.iss", setByProfile},
	{apns, byTeam, `{"iat":1}`, 0, "claims.iat", setByProfile},
	{apns, byTeam, `{"exp":1}`, 0, "claims.exp", noClaim},
	{apns, byTeam, `{"aud":"a"}`, 0, "claims.aud", noClaim},
	{apns, byTeam, `{"a":1}`, 0, "claims.a", noClaim},
	{apns, byTeam, "", seconds(1), "ttl", noExp},
	{apns, byTeam, "", seconds(3600), "ttl", noExp},

	{signIn, secret, "", seconds(86401), "ttl", "is over this profile's limit of 86400s"},
	{signIn, `max_ttl: 15777000s, ` + secret, "", seconds(15777001), "ttl", "is over this profile's limit of 15777000s"},
	{signIn, secret, `{"sub":"com.example.other"}`, 0, "claims.sub", setByProfile},
	{signIn, secret, `{"aud":"https://appleid.apple.com"}`, 0, "claims.aud", setByProfile},
	{signIn, secret, `{"nonce":"1"}`, 0, "claims.nonce", noClaim},

	{appleMaps, byTeam, "", seconds(86401), "ttl", "is over this profile's limit of 86400s"},
	{appleMaps, byTeam, `{"origin":"https://www.example.com/"}`, 0, "claims.origin", "is more than an origin"},
	{appleMaps, byTeam, `{"origin":"www.example.com"}`, 0, "claims.origin", "does not start with https:// or http://"},
	{appleMaps, byTeam, `{"origin":["https://www.example.com"]}`, 0, "claims.origin", "the profile takes a string"},
	{appleMaps, byTeam, `{"sub":"maps.com.example"}`, 0, "claims.sub", noClaim},

	{weather, secret, "", seconds(86401), "ttl", "is over this profile's limit of 86400s"},
	{weather, secret, `{"aud":"weatherkit"}`, 0, "claims.aud", noClaim},
	{weather, secret, `{"id":"DEF123GHIJ.com.mytest.app"}`, 0, "claims.id", noClaim},
	{weather, secret, `{"sub":"com.mytest.app"}`, 0, "claims.sub", setByProfile},

	{music, byTeam, "", seconds(86401), "ttl", "is over this profile's limit of 86400s"},
	{music, `max_ttl: 15777000s, ` + byTeam, "", seconds(15777001), "ttl", "is over this profile's limit of 15777000s"},
	{music, byTeam, `{"origin":"https://example.com"}`, 0, "claims.origin", "takes an array of strings"},
	{music, byTeam, `{"origin":["https://example.com","https://example.com/music"]}`, 0, "claims.origin", "item 1 is more than an origin"},
	{music, byTeam, `{"aud":"music"}`, 0, "claims.aud", noClaim},

	{device, byTeam, "", seconds(60), "ttl", noExp},
	{device, byTeam, `{"exp":1}`, 0, "claims.exp", noClaim},
	{device, byTeam, `{"iat":1}`, 0, "claims.iat", setByProfile},

	{business, account, "", seconds(3601), "ttl", "is over this profile's limit of 3600s"},
	{business, `max_ttl: 15551940s, ` + account, "", seconds(15551941), "ttl", "is over this profile's limit of 15551940s"},
	{business, account, `{"jti":"1"}`, 0, "claims.jti", setByProfile},
	{business, account, `{"scope":"business.api"}`, 0, "claims.scope", noClaim},

	{assertion, client, "", seconds(3601), "ttl", "is over this profile's limit of 3600s"},
	{assertion, client, `{"jti":"1"}`, 0, "claims.jti", setByProfile},
	{assertion, client, `{"sub":"other"}`, 0, "claims.sub", setByProfile},
	{assertion, client, `{"aud":"https://other.example"}`, 0, "claims.aud", setByProfile},
	{assertion, client, `{"scope":"read"}`, 0, "claims.scope", noClaim},

	{"vapid", push, "", 0, "claims.aud", "is required"},
	{"vapid", push, `{"aud":"https://push.example.net"}`, seconds(86401), "ttl", "is over this profile's limit of 86400s"},
	{"vapid", push, `{"aud":"https://push.example.net/subscription/1"}`, 0, "claims.aud", "is more than an origin"},
	{"vapid", push, `{"aud":"http://push.example.net"}`, 0, "claims.aud", "does not start with https://"},
	{"vapid", push, `{"aud":"https://push.example.net:443"}`, 0, "claims.aud", "names the scheme's own port"},
	{"vapid", push, `{"aud":["https://push.example.net"]}`, 0, "claims.aud", "the profile takes a string"},
	{"vapid", push, `{"aud":"https://push.example.net","sub":"mailto:other@example.com"}`, 0, "claims.sub", setByProfile},
	{"vapid", push, `{"aud":"https://push.example.net","iat":1}`, 0, "claims.iat", noClaim},

	{cdp, "", "", seconds(121), "ttl", "is over this profile's limit of 120s"},
	{cdp, `backdate: 10s`, "", seconds(111), "ttl", "is over this profile's limit of 110s"},
	{cdp, "", `{"uris":["api.cdp.coinbase.com/platform/v2/evm/accounts"]}`, 0, "claims.uris", "item 0 does not match the profile's pattern"},
	{cdp, "", `{"uris":["GET https://api.cdp.coinbase.com/platform/v2/evm/accounts"]}`, 0, "claims.uris", "item 0 does not match the profile's pattern"},
	{cdp, "", `{"uris":["GET api.cdp.coinbase.com"]}`, 0, "claims.uris", "item 0 does not match the profile's pattern"},
	{cdp, "", `{"uris":["GET api.cdp.coinbase.com/a b"]}`, 0, "claims.uris", "item 0 does not match the profile's pattern"},
	{cdp, "", `{"uris":"GET api.cdp.coinbase.com/a"}`, 0, "claims.uris", "takes an array of strings"},
	{cdp, "", `{"sub":"other"}`, 0, "claims.sub", setByProfile},
	{cdp, "", `{"nonce":"1"}`, 0, "claims.nonce", noClaim},
	{cdp, "", `{"nbf":1}`, 0, "claims.nbf", setByProfile},

	{"jwt", own, "", seconds(3601), "ttl", "is over this profile's limit of 3600s"},
	{"jwt", own, `{"sub":"s"}`, 0, "claims.sub", noClaim},
	{"jwt", own, `{"iat":1}`, 0, "claims.iat", setByProfile},
	{"jwt", own, `{"ISS":"i"}`, 0, "claims.ISS", noClaim},
}

func TestPresetsRefuseRequests(t *testing.T) {
	configs := map[string]*Config{}
	for _, r := range refusedRequests {
		s := specimen{preset: r.preset, profile: r.profile, claims: r.claims, ttl: r.ttl}
		c, ok := configs[r.preset+r.profile]
		if !ok {
			c = s.config(t)
			configs[r.preset+r.profile] = c
		}
		t.Run(r.preset+" "+r.claims+" "+r.ttl.String(), func(t *testing.T) {
			_, err := s.prepare(t, c)
			var refused *claims.Refusal
			if !errors.As(err, &refused) {
				t.Fatalf("%v", err)
			}
			if len(refused.Violations) != 1 || refused.Violations[0].Field != r.field || !strings.Contains(refused.Violations[0].Description, r.want) {
				t.Errorf("got %v, want %s %s", refused, r.field, r.want)
			}
		})
	}
}

// The presets' limits as profiles that would widen them.
var refusedProfiles = []refusal{
	{preset: asc, profile: `max_lifetime: 1141s, ` + byIssuer, field: "max_lifetime", want: "is over 19m0s, the limit of the preset"},
	{preset: asc, profile: `max_ttl: 15551941s, ` + byIssuer, field: "max_ttl", want: "is over 4319h59m0s, the most that the preset"},
	{preset: asc, profile: `default_ttl: 1081s, ` + byIssuer, field: "default_ttl", want: "is over the profile's max_ttl of 18m0s"},
	{preset: asc, profile: `default_ttl: 1081s, max_ttl: 4319h, ` + byIssuer, field: "default_ttl", want: "only to a caller who asks for it"},
	{preset: asc, profile: `reuse: {mode: shared}, ` + byIssuer, field: "reuse.mode", want: "takes until_refresh or never"},
	{preset: asc, profile: `claims: {iss: {fixed: DEF123GHIJ}}`, field: "claims.iss.fixed", want: "does not match the profile's pattern"},
	{preset: asc, profile: `claims: {}`, field: "claims.iss", want: "is missing"},

	{preset: individual, profile: `max_lifetime: 1141s`, field: "max_lifetime", want: "is over 19m0s, the limit of the preset"},
	{preset: individual, profile: `max_ttl: 15551941s`, field: "max_ttl", want: "is over 4319h59m0s, the most that the preset"},
	{preset: individual, profile: byIssuer, field: "claims.iss", want: `has no claim "iss"`},
	{preset: individual, profile: `claims: {sub: {fixed: somebody}}`, field: "claims.sub", want: presetSets},
	{preset: individual, profile: `claims: {scope: {fixed: ["GET /v1/devices"]}}`, field: "claims.scope.fixed", want: "names a resource of Provisioning"},
	{preset: individual, profile: `claims: {scope: {caller: {one_of: ["GET /v1/apps", "GET /v1/financeReports"]}}}`, field: "claims.scope.caller.one_of[1]", want: "or of Sales and Finance"},

	{preset: enterprise, profile: `max_ttl: 1081s, ` + byIssuer, field: "max_ttl", want: "is over 18m0s, the most that the preset"},
	{preset: enterprise, profile: `max_lifetime: 1141s, ` + byIssuer, field: "max_lifetime", want: "is over 19m0s, the limit of the preset"},
	{preset: enterprise, profile: `reuse: {mode: shared}, ` + byIssuer, field: "reuse.mode", want: "takes until_refresh or never"},

	{preset: server, profile: `max_lifetime: 3601s, ` + ofApp, field: "max_lifetime", want: "is over 1h0m0s, the limit of the preset"},
	{preset: server, profile: `max_ttl: 3571s, ` + ofApp, field: "max_ttl", want: "is over 59m30s, the most that the preset"},
	{preset: server, profile: byIssuer, field: "claims.bid", want: "is missing"},
	{preset: server, profile: `claims: {` + issuer + `, bid: {fixed: com/example}}`, field: "claims.bid.fixed", want: "does not match the profile's pattern"},
	{preset: server, profile: `claims: {` + issuer + `, bid: {caller: {}}}`, field: "claims.bid", want: "takes only `fixed` here"},

	{preset: jws, profile: storekit("retention"), field: "claims.aud.fixed", want: `"retention" is no aud of the preset`},
	{preset: jws, profile: ofApp, field: "claims.aud", want: "is missing"},
	{preset: jws, profile: `reuse: {mode: until_refresh}, ` + storekit("promotional-offer"), field: "reuse.mode", want: "takes never"},
	{preset: jws, profile: `max_ttl: 60s, ` + storekit("promotional-offer"), field: "max_ttl", want: "this profile has none"},
	{preset: jws, profile: `claims: {` + issuer + `, ` + bundle + `, aud: {fixed: promotional-offer}, nonce: {fixed: a}}`, field: "claims.nonce", want: presetSets},
	{preset: jws, profile: `claims: {` + issuer + `, ` + bundle + `, aud: {fixed: promotional-offer}, offerIdentifier: {forbidden: true}}`, field: "claims.offerIdentifier", want: "requires this claim"},
	{preset: jws, profile: `claims: {` + issuer + `, ` + bundle + `, aud: {fixed: promotional-offer}, request: {fixed: e30=}}`, field: "claims.request", want: `has no claim "request"`},

	{preset: apns, profile: `claims: {iss: {fixed: DEF123GHI}}`, field: "claims.iss.fixed", want: "does not match the profile's pattern"},
	{preset: apns, profile: `claims: {` + team + `, exp: {computed: expire_time}}`, field: "claims.exp", want: `has no claim "exp"`},
	{preset: apns, profile: `claims: {` + team + `, aud: {fixed: a}}`, field: "claims.aud", want: `has no claim "aud"`},
	{preset: apns, profile: `max_age: 3601s, ` + byTeam, field: "max_age", want: "is over 1h0m0s, the limit of the preset"},
	{preset: apns, profile: `reuse: {mode: until_refresh}, ` + byTeam, field: "reuse.mode", want: "takes shared alone"},
	{preset: apns, profile: `reuse: {mode: never}, ` + byTeam, field: "reuse.mode", want: "takes shared alone"},
	{preset: apns, profile: `reuse: {mode: shared, min_age: 1199s}, ` + byTeam, field: "reuse.min_age", want: "is under 20m0s, the least that the preset"},
	{preset: apns, profile: `reuse: {mode: shared, grid: 1199s}, ` + byTeam, field: "reuse.grid", want: "is under the min_age of 20m0s"},
	{preset: apns, profile: `default_ttl: 60s, ` + byTeam, field: "default_ttl", want: "this profile has none"},
	{preset: apns, profile: `typ: JWT, ` + byTeam, field: "typ", want: `fixes typ to "none"`},
	{preset: apns, profile: `omit_kid: true, ` + byTeam, field: "omit_kid", want: "has a kid"},

	{preset: signIn, profile: `max_ttl: 15777001s, ` + secret, field: "max_ttl", want: "is over 4382h30m0s, the most that the preset"},
	{preset: signIn, profile: byTeam, field: "claims.sub", want: "is missing"},
	{preset: signIn, profile: `claims: {iss: {fixed: 57246542-96fe-1a63-e053-0824d011072a}, sub: {fixed: a}}`, field: "claims.iss.fixed", want: "does not match the profile's pattern"},
	{preset: signIn, profile: `typ: JWT, ` + secret, field: "typ", want: `fixes typ to "none"`},

	{preset: appleMaps, profile: `claims: {` + team + `, origin: {fixed: "https://example.com/"}}`, field: "claims.origin.fixed", want: "is more than an origin"},
	{preset: appleMaps, profile: `claims: {` + team + `, origin: {fixed: ["https://example.com"]}}`, field: "claims.origin.fixed", want: "the profile takes a string"},

	{preset: weather, profile: `header: {id: {fixed: DEF123GHIJ.a}}, ` + secret, field: "header", want: "has a header of its own"},
	{preset: weather, profile: `claims: {` + team + `, sub: {fixed: a}, aud: {fixed: weatherkit}}`, field: "claims.aud", want: `has no claim "aud"`},
	{preset: weather, profile: byTeam, field: "claims.sub", want: "is missing"},

	{preset: music, profile: `max_ttl: 15777001s, ` + byTeam, field: "max_ttl", want: "is over 4382h30m0s, the most that the preset"},
	{preset: music, profile: `claims: {` + team + `, origin: {fixed: "https://example.com"}}`, field: "claims.origin.fixed", want: "takes an array of strings"},

	{preset: device, profile: `max_age: 3601s, ` + byTeam, field: "max_age", want: "is over 1h0m0s, the limit of the preset"},
	{preset: device, profile: `claims: {` + team + `, exp: {computed: expire_time}}`, field: "claims.exp", want: `has no claim "exp"`},

	{preset: business, profile: `max_ttl: 15551941s, ` + account, field: "max_ttl", want: "is over 4319h59m0s, the most that the preset"},
	{preset: business, profile: `max_lifetime: 15552001s, ` + account, field: "max_lifetime", want: "is over 4320h0m0s, the limit of the preset"},
	{preset: business, profile: `claims: {sub: {fixed: a}, iss: {fixed: b}}`, field: "claims.iss", want: presetSets},

	{preset: assertion, profile: `claims: {sub: {fixed: a}, aud: {fixed: ["https://as.example"]}}`, field: "claims.aud.fixed", want: "the profile takes a string"},
	{preset: assertion, profile: `claims: {sub: {fixed: a}, aud: {fixed: ""}}`, field: "claims.aud", want: "is empty"},
	{preset: assertion, profile: `claims: {sub: {fixed: a}, aud: {fixed: b}, iss: {fixed: c}}`, field: "claims.iss", want: presetSets},
	{preset: assertion, profile: `reuse: {mode: until_refresh}, ` + client, field: "reuse.mode", want: "takes never"},

	{preset: "vapid", profile: `max_ttl: 86401s, ` + push, field: "max_ttl", want: "is over 24h0m0s, the most that the preset"},
	{preset: "vapid", profile: `claims: {sub: {fixed: push@example.com}}`, field: "claims.sub.fixed", want: "does not start with mailto: or https://"},
	{preset: "vapid", profile: `claims: {sub: {fixed: "http://example.com"}}`, field: "claims.sub.fixed", want: "does not start with mailto: or https://"},
	{preset: "vapid", profile: `claims: {sub: {fixed: "mailto:"}}`, field: "claims.sub.fixed", want: "is not mailto: and one e-mail address"},
	{preset: "vapid", profile: `claims: {sub: {fixed: "mailto:a@example.com"}, aud: {forbidden: true}}`, field: "claims.aud", want: "requires this claim"},
	{preset: "vapid", profile: `claims: {sub: {fixed: "mailto:a@example.com"}, aud: {fixed: "https://push.example.net/x"}}`, field: "claims.aud.fixed", want: "is more than an origin"},
	{preset: "vapid", profile: `claims: {sub: {fixed: "mailto:a@example.com"}, iat: {computed: issue_time}}`, field: "claims.iat", want: `has no claim "iat"`},

	{preset: cdp, profile: `max_ttl: 121s`, field: "max_ttl", want: "is over 2m0s, the most that the preset"},
	{preset: cdp, profile: `max_lifetime: 121s`, field: "max_lifetime", want: "is over 2m0s, the limit of the preset"},
	{preset: cdp, profile: `reuse: {mode: until_refresh}`, field: "reuse.mode", want: "takes never"},
	{preset: cdp, profile: `header: {nonce: {fixed: a}}`, field: "header", want: "has a header of its own"},
	{preset: cdp, profile: `claims: {sub: {fixed: a}}`, field: "claims.sub", want: presetSets},

	{preset: "jwt", profile: `claims: {iss: {fixed: i}}`, field: "claims.aud", want: "is missing"},
	{preset: "jwt", profile: `claims: {iss: {fixed: i}, aud: {fixed: a}, exp: {caller: {type: integer}}}`, field: "claims.exp", want: presetSets},
	{preset: "jwt", profile: `header: {jku: {fixed: "https://evil.example"}}, ` + own, field: "header.jku", want: "is not for a profile to set"},
}

func TestPresetsRefuseProfilesThatWidenThem(t *testing.T) {
	for _, r := range refusedProfiles {
		t.Run(r.preset+" "+r.profile, func(t *testing.T) {
			_, err := parseProfile(r.preset, r.profile)
			if err == nil {
				t.Fatal("accepted")
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if strings.Contains(line, " profiles.p."+r.field+": ") && strings.Contains(line, r.want) {
					return
				}
			}
			t.Errorf("got %v, want %s: %s", err, r.field, r.want)
		})
	}
}

func TestEveryPresetRefuses(t *testing.T) {
	for _, table := range [][]refusal{refusedRequests, refusedProfiles} {
		presets, err := Presets()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range table {
			delete(presets, r.preset)
		}
		for name := range presets {
			t.Errorf("nothing is refused with the preset %s", name)
		}
	}
}

// What Apple lets a profile choose stays possible.
func TestPresetsLeaveRoom(t *testing.T) {
	for _, s := range []specimen{
		{preset: asc, profile: `backdate: 0s, ` + byIssuer, ttl: seconds(1140)},
		{preset: server, profile: `reuse: {mode: until_refresh}, ` + ofApp},
		{preset: server, profile: `backdate: 0s, ` + ofApp, ttl: time.Hour},
		{preset: apns, profile: `reuse: {mode: shared, min_age: 1500s, grid: 2100s}, ` + byTeam},
		{preset: appleMaps, profile: `max_ttl: 8760h, ` + byTeam, ttl: 8760 * time.Hour},
		{preset: weather, profile: `max_ttl: 720h, ` + secret, ttl: 720 * time.Hour},
		{preset: music, profile: `claims: {` + team + `, origin: {forbidden: true}}`},
		{preset: "vapid", profile: `claims: {sub: {fixed: "mailto:a@example.com"}, aud: {caller: {one_of: ["https://fcm.googleapis.com", "https://web.push.apple.com"]}}}`, claims: `{"aud":"https://web.push.apple.com"}`},
	} {
		s.approved(t, s.config(t))
	}
}
