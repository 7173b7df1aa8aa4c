package doctor

import (
	"fmt"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/claims"
)

func appStoreExam(t *testing.T, id, kid, preset, issuer string) *Exam {
	t.Helper()
	if issuer != "" {
		issuer = fmt.Sprintf(", claims: {iss: {fixed: %q}}", issuer)
	}
	return examOf(t, fmt.Sprintf(`
listeners: [{unix: {path: /run/jotsmith/s}}]
backends: {local: {uri: "file:/keys"}}
keys: {asc: {backend: local, id: %s, kid: %s}}
profiles: {asc: {preset: %s, key: asc%s}}
`, id, kid, preset, issuer))
}

const (
	someIssuer = "57246542-96fe-1a63-e053-0824d011072a"
	askApple   = "note Apple alone can say"
	isTeam     = "note is for a team key"
)

func TestUsualCausesOf401(t *testing.T) {
	for name, tc := range map[string]struct {
		id, kid, preset, issuer string
		clock                   *reading
		want                    []string
	}{
		"well":             {"AuthKey_2X9R4HXF34.p8", "2X9R4HXF34", appStoreTeam, someIssuer, &reading{}, []string{isTeam, askApple}},
		"individual":       {"AuthKey_2X9R4HXF34.p8", "2X9R4HXF34", appStoreIndividual, "", nil, []string{"note is for an individual key", askApple}},
		"another's name":   {"asc.pem", "2X9R4HXF34", appStoreTeam, someIssuer, nil, []string{isTeam, askApple}},
		"wrong kid":        {"AuthKey_2X9R4HXF34.p8", "AAAAAAAAAA", appStoreTeam, someIssuer, nil, []string{`error the kid of key asc is "AAAAAAAAAA"`, isTeam, askApple}},
		"another service":  {"SubscriptionKey_2X9R4HXF34.p8", "2X9R4HXF34", appStoreTeam, someIssuer, nil, []string{"error keys for In-App Purchase", isTeam, askApple}},
		"unknown service":  {"WeatherKey_2X9R4HXF34.p8", "2X9R4HXF34", appStoreTeam, someIssuer, nil, []string{"note begin with AuthKey_", isTeam, askApple}},
		"a little fast":    {"k", "2X9R4HXF34", appStoreTeam, someIssuer, &reading{"it", 30 * time.Second, 0}, []string{isTeam, askApple}},
		"a clock too fast": {"k", "2X9R4HXF34", appStoreTeam, someIssuer, &reading{"it", 150 * time.Second, 0}, []string{isTeam, "error issued 1m30s in the future", "warning a token of max_ttl ends 20m30s ahead", askApple}},
		"a clock too slow": {"k", "2X9R4HXF34", appStoreTeam, someIssuer, &reading{"it", -90 * time.Second, 0}, []string{isTeam, askApple}},
	} {
		t.Run(name, func(t *testing.T) {
			wantFindings(t, appStoreExam(t, tc.id, tc.kid, tc.preset, tc.issuer).appStore(tc.clock), tc.want...)
		})
	}
}

// What the presets do not let through is looked at too, for a file that was not
// checked to its end.
func TestWhatTheConfigurationWouldRefuse(t *testing.T) {
	e := appStoreExam(t, "k", "2X9R4HXF34", appStoreTeam, someIssuer)
	e.Config.GetProfiles()["asc"].GetClaims()["iss"].GetFixed().Kind = nil
	wantFindings(t, e.appStoreIssuer("asc"), "error a team's issuer id is a UUID")
	e = appStoreExam(t, "k", "2X9R4HXF34", appStoreTeam, someIssuer)
	e.Config.GetProfiles()["asc"].Preset = appStoreIndividual
	wantFindings(t, e.appStoreIssuer("asc"), "error tokens of individual keys have none")
	wantFindings(t, appStoreTimes(&claims.Profile{DefaultTTL: 20 * time.Minute, Backdate: time.Minute}, nil), "error tokens live for 21m0s, counted as exp - iat")
}

func TestAppleIsAskedForItsTimeOnlyWithLeave(t *testing.T) {
	s := clockServer(t, -time.Minute, true)
	e := appStoreExam(t, "k", "2X9R4HXF34", appStoreTeam, someIssuer)
	e.Now, e.HTTP, e.AppStore = time.Now, s.Client(), s.URL
	if r, findings := e.consumerClock(t.Context()); r != nil || findings != nil {
		t.Errorf("asked without leave: %+v, %+v", r, findings)
	}
	e.Consumers = true
	r, findings := e.consumerClock(t.Context())
	wantFindings(t, findings, "error ahead of App Store Connect")
	if r == nil {
		t.Error("no reading")
	}
}
