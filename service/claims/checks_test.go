package claims

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// The descriptions of the checks' errors.
const (
	notHTTPS     = "does not start with https://"
	notHTTP      = "does not start with https:// or http://"
	notContact   = "does not start with mailto: or https://"
	moreThan     = "is more than an origin, which is a scheme, a host and a port alone"
	noHost       = "has no host of lower-case ASCII letters, digits, hyphens and dots, or IP address; write other letters as in xn--mnchen-3ya.example"
	noPort       = "has no port from 1 to 65535 after its \":\""
	ownPort      = "names the scheme's own port; an origin leaves it out"
	noURL        = "is not a URL (RFC 3986)"
	noAddress    = "is not mailto: and one e-mail address, as in mailto:push@example.org"
	noBase64     = "is not standard base64 with padding (RFC 4648 section 4)"
	noJSONObject = "does not hold a JSON object: "
)

func TestChecks(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for check, table := range map[string]map[string]string{
		CheckOrigin: {
			"https://example.com":                         "",
			"http://example.com":                          "",
			"http://localhost:8080":                       "",
			"https://example.com:80":                      "",
			"http://example.com:443":                      "",
			"https://a.b.c.example.com:8443":              "",
			"https://xn--mnchen-3ya.example":              "",
			"https://1.2.3.4":                             "",
			"https://[2001:db8::1]":                       "",
			"https://[::1]:8443":                          "",
			"https://my_host.example":                     "",
			"https://3com.example":                        "",
			"https://example.com:1":                       "",
			"https://example.com:65535":                   "",
			"https://" + strings.Repeat("a", 63):          "",
			"":                                            notHTTP,
			"example.com":                                 notHTTP,
			"//example.com":                               notHTTP,
			"HTTPS://example.com":                         notHTTP,
			"Https://example.com":                         notHTTP,
			"https:example.com":                           notHTTP,
			"https:/example.com":                          notHTTP,
			"ftp://example.com":                           notHTTP,
			"javascript:alert(1)":                         notHTTP,
			"null":                                        notHTTP,
			" https://example.com":                        notHTTP,
			"\ufeffhttps://example.com":                   notHTTP,
			"https://example.com/":                        moreThan,
			"https://example.com/a":                       moreThan,
			"https://example.com?a":                       moreThan,
			"https://example.com#a":                       moreThan,
			"https://a@b":                                 moreThan,
			"https://a:b@c":                               moreThan,
			"https://example.com@evil.example":            moreThan,
			`https://example.com\evil`:                    moreThan,
			"https:///example.com":                        moreThan,
			"https://":                                    noHost,
			"https://:443":                                noHost,
			"https://EXAMPLE.com":                         noHost,
			"https://münchen.example":                     noHost,
			"https://example。com":                         noHost,
			"https://exa\u0301mple.com":                   noHost,
			"https://\u0435xample.com":                    noHost,
			"https://example.com\u202e":                   noHost,
			"https://exam\u00adple.com":                   noHost,
			"https://example.com ":                        noHost,
			"https://exam ple.com":                        noHost,
			"https://example.com\x00":                     noHost,
			"https://example.com\n":                       noHost,
			"https://exam\tple.com":                       noHost,
			"https://example%2ecom":                       noHost,
			"https://*.example.com":                       noHost,
			"https://example.com.":                        noHost,
			"https://.example.com":                        noHost,
			"https://a..b":                                noHost,
			"https://-a.example":                          noHost,
			"https://a-.example":                          noHost,
			"https://a,https://b":                         moreThan,
			"https://a, b":                                noHost,
			"https://" + strings.Repeat("a", 64):          noHost,
			"https://" + strings.Repeat("a.", 126) + "aa": noHost,
			"https://1.2.3":                               noHost,
			"https://1.2.3.4.5":                           noHost,
			"https://1.2.3.256":                           noHost,
			"https://1.2.3.04":                            noHost,
			"https://0x7f.1":                              noHost,
			"https://127.0.0.0x1":                         noHost,
			"https://2130706433":                          noHost,
			"https://[::1":                                noHost,
			"https://[::1]a":                              noHost,
			"https://::1":                                 noHost,
			"https://[0:0:0:0:0:0:0:1]":                   noHost,
			"https://[2001:DB8::1]":                       noHost,
			"https://[fe80::1%25eth0]":                    noHost,
			"https://[::ffff:1.2.3.4]":                    noHost,
			"https://[1.2.3.4]":                           noHost,
			"https://[]":                                  noHost,
			"https://[example.com]":                       noHost,
			"https://a:":                                  noPort,
			"https://a:0":                                 noPort,
			"https://a:00443":                             noPort,
			"https://a:08443":                             noPort,
			"https://a:65536":                             noPort,
			"https://a:99999":                             noPort,
			"https://a:-1":                                noPort,
			"https://a:+1":                                noPort,
			"https://a: 1":                                noPort,
			"https://a:1 ":                                noPort,
			"https://a:1:2":                               noPort,
			"https://a:http":                              noPort,
			"https://a:٤٤":                                noPort,
			"https://[::1]:":                              noPort,
			"https://[::1]:0":                             noPort,
			"https://example.com:443":                     ownPort,
			"http://example.com:80":                       ownPort,
			"https://[::1]:443":                           ownPort,
		},
		CheckHTTPSOrigin: {
			"https://push.example.net":       "",
			"https://push.example.net:8443":  "",
			"http://push.example.net":        notHTTPS,
			"HTTPS://push.example.net":       notHTTPS,
			"wss://push.example.net":         notHTTPS,
			"https://push.example.net/":      moreThan,
			"https://push.example.net/x":     moreThan,
			"https://push.example.net:443":   ownPort,
			"https://a@push.example.net":     moreThan,
			"https://push.example.net:99999": noPort,
		},
		CheckHTTPSURL: {
			"https://as.example":                       "",
			"https://as.example/":                      "",
			"https://AS.example:443/token":             "",
			"https://as.example/a/b?c=d&e=%20f":        "",
			"https://as.example?x":                     "",
			"https://as.example/a@b":                   "",
			"https://[::1]:8443/token":                 "",
			"http://as.example":                        notHTTPS,
			"HTTPS://as.example":                       notHTTPS,
			"as.example/token":                         notHTTPS,
			"/token":                                   notHTTPS,
			"https:as.example":                         notHTTPS,
			"":                                         notHTTPS,
			"https://":                                 noURL,
			"https:///token":                           noHost,
			"https://?x":                               noHost,
			"https://as.example/#":                     "has a fragment",
			"https://as.example#x":                     "has a fragment",
			"https://a@b":                              "has a user's name before its host",
			"https://a:b@c/d":                          "has a user's name before its host",
			"https://@c/d":                             "has a user's name before its host",
			"https://as.example/a b":                   noURL,
			"https://as.example/\x00":                  noURL,
			"https://as.example/\n":                    noURL,
			"https://as.example/ü":                     noURL,
			"https://münchen.example/":                 noURL,
			"https://as.example/%":                     noURL,
			"https://as.example/%zz":                   noURL,
			"https://as.example/?%2":                   noURL,
			`https://as.example\token`:                 noURL,
			`https://as.example/"`:                     noURL,
			"https://as.example:99999/":                noPort,
			"https://as.example:/":                     noPort,
			"https://as..example/":                     noHost,
			"https://%61s.example/":                    noURL,
			"https://as.example:443:443/":              noURL,
			"https://[::1/":                            noURL,
			"https://as.example/" + "<script>":         noURL,
			"https://as.example,https://other.example": noHost,
		},
		CheckContact: {
			"mailto:push@example.com":            "",
			"mailto:first.last+push@example.com": "",
			"mailto:push@EXAMPLE.com":            "",
			"mailto:push@localhost":              "",
			"https://example.com/contact":        "",
			"https://example.com":                "",
			"mailto:":                            noAddress,
			"mailto:@":                           noAddress,
			"mailto:a@":                          noAddress,
			"mailto:@example.com":                noAddress,
			"mailto:push":                        noAddress,
			"mailto: push@example.com":           noAddress,
			"mailto:<push@example.com>":          noAddress,
			"mailto:a@b@c":                       noAddress,
			"mailto:a..b@example.com":            noAddress,
			"mailto:.a@example.com":              noAddress,
			"mailto:a,b@example.com":             noAddress,
			"mailto:a@example.com,b@example.com": noAddress,
			"mailto:a@example.com?subject=x":     noAddress,
			"mailto:a%0d%0aBcc:b@example.com":    noAddress,
			"mailto:a@example.com\r\nBcc: b@c":   noAddress,
			"mailto:a@exämple.com":               noAddress,
			"mailto:ä@example.com":               noAddress,
			"mailto:a@1.2.3":                     noAddress,
			"mailto:a@example.com.":              noAddress,
			"mailto://a@example.com":             noAddress,
			"MAILTO:push@example.com":            notContact,
			"push@example.com":                   notContact,
			"http://example.com":                 notContact,
			"tel:+123":                           notContact,
			"":                                   notContact,
			"https:":                             notContact,
			"https://a@example.com":              "has a user's name before its host",
			"https://example.com#x":              "has a fragment",
			"<https://example.com>":              notContact,
			"https://example.com:99999":          noPort,
			"https://example.com, https://b.com": noURL,
		},
		CheckBase64JSON: {
			b64(`{}`):              "",
			b64(`{"a":{"b":[1]}}`): "",
			b64(" {\"a\":1}\r\n"):  "",
			b64(`{"a":"ÿ??>>"}`):   "",
			b64(`{"price":1.5e3}`): "",
			"":                     "holds no JSON object",
			"e30":                  noBase64,
			"e30==":                noBase64,
			"e30=\n":               noBase64,
			"e3\n0=":               noBase64,
			"\te30=":               noBase64,
			"e31=":                 noBase64, // bits behind the end
			"{}":                   noBase64,
			"=":                    noBase64,
			"eyJhIjoiw7_Dvz4-In0=": noBase64, // base64url
			b64(`[]`):              noJSONObject + "not a JSON object",
			b64(`"{}"`):            noJSONObject + "not a JSON object",
			b64(`null`):            noJSONObject + "not a JSON object",
			b64(`{} {}`):           noJSONObject + "something follows the JSON object",
			b64(`{}x`):             noJSONObject + "something follows the JSON object",
			b64(`{"a":1,"a":2}`):   noJSONObject + "a name stands twice in one object",
			b64(`{"a":[{"b":1,"b":2}]}`): noJSONObject +
				"a name stands twice in one object",
			b64(`{"a":1,"\u0061":2}`): noJSONObject + "a name stands twice in one object",
			b64(`{`):                  noJSONObject + "not valid JSON: it ends too early",
			b64(` `):                  noJSONObject + "not valid JSON: it ends too early",
			b64("\ufeff{}"):           noJSONObject + "not valid JSON at byte 0",
			b64("{\"a\":\"\xff\"}"):   noJSONObject + "not valid JSON at byte 6",
			b64(`{"a":"\ud800"}`):     noJSONObject + "not valid JSON at byte 6",
			b64(`{/* */}`):            noJSONObject + "not valid JSON at byte 1",
			b64(`{"a":` + strings.Repeat("[", 10000)): noJSONObject +
				"deeper than 16 levels",
			b64(b64(`{}`)): noJSONObject + "not valid JSON at byte 0",
		},
		CheckASCIndividualScope: {
			"GET /v1/apps":                             "",
			"GET /v1/apps?filter[bundleId]=com.a":      "",
			"GET /v1/ciProducts":                       "",
			"GET /v1/users/1/visibleApps":              "",
			"GET /v1/bundleIdsOfMine":                  "",
			"GET /v1/bundleIds":                        notIndividual,
			"GET /v1/BUNDLEIDS":                        notIndividual,
			"GET /v2/bundleIds":                        notIndividual,
			"GET /v1/bundleIds/1/profiles":             notIndividual,
			"GET /v1/bundleIds?filter[platform]=IOS":   notIndividual,
			"GET /v1/bundleIdCapabilities":             notIndividual,
			"GET /v1/certificates":                     notIndividual,
			"GET /v1/devices/1":                        notIndividual,
			"GET /v1/profiles/1/certificates":          notIndividual,
			"GET /v1/merchantIds":                      notIndividual,
			"GET /v1/passTypeIds":                      notIndividual,
			"GET /v1/salesReports?filter[frequency]=X": notIndividual,
			"GET /v1/financeReports":                   notIndividual,
			"GET /notary/v2/submissions":               `has no path such as /v1/apps after "GET "`,
			"GET /v1/./bundleIds":                      `has no path such as /v1/apps after "GET "`,
			"GET /v1//bundleIds":                       `has no path such as /v1/apps after "GET "`,
			"GET /v1/%62undleIds":                      `has no path such as /v1/apps after "GET "`,
			"GET /v1/apps/../bundleIds":                `has no path such as /v1/apps after "GET "`,
			"POST /v1/bundleIds":                       `does not start with "GET "; App Store Connect accepts no other method in a scope`,
		},
		"":        {"anything": ""},
		"unheard": {"anything": "has an unknown check"},
	} {
		for value, want := range table {
			t.Run(check+" "+value, func(t *testing.T) {
				if got := fmt.Sprint(checkString(check, value)); got != orNil(want) {
					t.Errorf("%q: %s, want %s", value, got, orNil(want))
				}
			})
		}
	}
}

const notIndividual = "names a resource of Provisioning or of Sales and Finance, which App Store Connect gives no individual key"

// A list's item is named in the error, a string is not.
func TestChecksNameTheItemOfAList(t *testing.T) {
	for _, tt := range []struct{ typ, value, want string }{
		{"string", `"x"`, notHTTP},
		{"string_or_list", `"x"`, notHTTP},
		{"string_list", `["https://example.com","x"]`, "item 1 " + notHTTP},
		{"string_or_list", `["x"]`, "item 0 " + notHTTP},
	} {
		rule := CallerRule{Type: tt.typ, MaxLength: 100, MaxItems: 4, Check: CheckOrigin}
		if err := rule.CheckValue([]byte(tt.value)); err == nil || err.Error() != tt.want {
			t.Errorf("%s %s: %v", tt.typ, tt.value, err)
		}
	}
}

// FuzzChecks looks at what the checks accept with other eyes.
func FuzzChecks(f *testing.F) {
	for _, seed := range []string{
		"https://example.com", "http://[::1]:8080", "https://a@b", "https://a:443", "https://1.2.3.4:1", "https://a/b?c=%20#d",
		"mailto:a.b+c@example.com", "mailto:", "e30=", "eyJhIjoxfQ==", "GET /v1/apps?limit=1", "GET /v1/bundleIds", "https://xn--a.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, check := range []string{
			CheckASCScope, CheckASCIndividualScope, CheckASCLongLived, CheckOrigin, CheckHTTPSOrigin, CheckHTTPSURL, CheckContact, CheckBase64JSON,
		} {
			if checkString(check, s) != nil {
				continue
			}
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s takes %q, which is not printable ASCII", check, s)
			}
			switch check {
			case CheckOrigin, CheckHTTPSOrigin:
				u, err := url.Parse(s)
				if err != nil || u.Scheme+"://"+u.Host != s || u.Hostname() == "" || u.String() != s {
					t.Errorf("%s takes %q, which reads as %v, %v", check, s, u, err)
				}
			case CheckHTTPSURL:
				if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
					t.Errorf("%s takes %q, which reads as %v, %v", check, s, u, err)
				}
			case CheckContact:
				u, err := url.Parse(s)
				if err != nil || u.Scheme == "mailto" && strings.Count(u.Opaque, "@") != 1 || u.Scheme != "mailto" && u.Scheme != "https" {
					t.Errorf("%s takes %q, which reads as %v, %v", check, s, u, err)
				}
			case CheckBase64JSON:
				data, err := base64.StdEncoding.DecodeString(s)
				var object map[string]any
				if err != nil || json.Unmarshal(data, &object) != nil || base64.StdEncoding.EncodeToString(data) != s {
					t.Errorf("%s takes %q", check, s)
				}
			case CheckASCIndividualScope, CheckASCLongLived:
				if err := checkString(CheckASCScope, s); err != nil {
					t.Errorf("%s takes %q, and a scope %v", check, s, err)
				}
			}
		}
		if checkString(CheckHTTPSOrigin, s) == nil && checkString(CheckOrigin, s) != nil {
			t.Errorf("%q is an https origin and no origin", s)
		}
	})
}
