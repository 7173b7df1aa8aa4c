package doctor

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/claims"
)

const (
	appStorePrefix     = "apple/app-store-connect-"
	appStoreTeam       = appStorePrefix + "team"
	appStoreIndividual = appStorePrefix + "individual"

	// appStoreMost is the most that exp may be ahead of iat, and of Apple's clock.
	appStoreMost = 20 * time.Minute
)

var (
	uuid = regexp.MustCompile(`\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z`)
	// keyFileName is what Apple's pages call the files that they let one download.
	keyFileName = regexp.MustCompile(`\A([A-Za-z]+)_([A-Z0-9]{10})\.p8\z`)
)

// appStoreProfiles returns the names of the profiles for App Store Connect.
func (e *Exam) appStoreProfiles() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(e.Config.GetProfiles())) {
		if strings.HasPrefix(e.Config.GetProfiles()[name].GetPreset(), appStorePrefix) {
			names = append(names, name)
		}
	}
	return names
}

// appStore says of each profile for App Store Connect which of the usual causes
// of its answer 401 apply. clock is nil where ours could not be compared.
func (e *Exam) appStore(clock *reading) []Finding {
	var findings []Finding
	for _, name := range e.appStoreProfiles() {
		findings = append(findings, e.appStoreKey(name)...)
		findings = append(findings, e.appStoreIssuer(name)...)
		for i := range e.Config.ClaimProfiles {
			if p := &e.Config.ClaimProfiles[i]; p.Name == name {
				findings = append(findings, appStoreTimes(p, clock)...)
			}
		}
		findings = append(findings, Finding{
			Note, "profile " + name, "whether Apple takes a token, Apple alone can say: after 401 with none of the findings here, the key may be revoked, or its role too small (403)",
			fmt.Sprintf(`curl -i -H "Authorization: Bearer $(jotsmith token --profile %s)" %s`, name, AppStoreConnect),
		})
	}
	return findings
}

// appStoreKey compares the kid with the name that Apple gave the key's file.
func (e *Exam) appStoreKey(name string) []Finding {
	var findings []Finding
	p := e.Config.GetProfiles()[name]
	for _, key := range e.Config.SigningKeys {
		if key.Name != p.GetKey() {
			continue
		}
		for _, m := range key.Members {
			file := keyFileName.FindStringSubmatch(path.Base(m.ID))
			if file == nil {
				continue
			}
			subject := "profile " + name
			prefix, kid := file[1], file[2]
			if prefix == "SubscriptionKey" {
				findings = append(findings, Finding{Fault, subject, fmt.Sprintf("key %s is in %s, which is how Apple names keys for In-App Purchase; App Store Connect refuses them", key.Label(), m.ID), "make a key on the page Users and Access, Integrations, App Store Connect API"})
			} else if prefix != "AuthKey" && prefix != "ApiKey" {
				findings = append(findings, Finding{Note, subject, fmt.Sprintf("key %s is in %s, and the files of App Store Connect begin with AuthKey_", key.Label(), m.ID), "see that the key is one of App Store Connect"})
			}
			if key.KID != kid {
				findings = append(findings, Finding{Fault, subject, fmt.Sprintf("the kid of key %s is %q, and its file %s says %s; Apple finds keys by their kid", key.Label(), key.KID, m.ID, kid), "set kid: " + kid})
			}
		}
	}
	return findings
}

// appStoreIssuer tells the claims of team keys from those of individual ones.
func (e *Exam) appStoreIssuer(name string) []Finding {
	p := e.Config.GetProfiles()[name]
	subject, issuer := "profile "+name, p.GetClaims()["iss"].GetFixed().GetStringValue()
	switch p.GetPreset() {
	case appStoreTeam:
		if !uuid.MatchString(issuer) {
			return []Finding{{Fault, subject, fmt.Sprintf("iss is %q, and a team's issuer id is a UUID in lower case", issuer), "copy the issuer id from above the list of keys; for an individual key, use the preset " + appStoreIndividual}}
		}
		return []Finding{{Note, subject, "is for a team key; an individual one, made on a user's own profile page, is refused with an iss", "for an individual key, use the preset " + appStoreIndividual}}
	case appStoreIndividual:
		if issuer != "" {
			return []Finding{{Fault, subject, "has an iss, and tokens of individual keys have none", "remove iss; for a team key, use the preset " + appStoreTeam}}
		}
		return []Finding{{Note, subject, "is for an individual key, which may not use Provisioning, Sales and Finance, and notarytool", "for a team key, or for these, use the preset " + appStoreTeam}}
	}
	return nil
}

// appStoreTimes says whether Apple's clock sees the profile's tokens end too late
// or begin too early.
func appStoreTimes(p *claims.Profile, clock *reading) []Finding {
	var findings []Finding
	subject := "profile " + p.Name
	if life := p.DefaultTTL + p.Backdate; life > appStoreMost && p.LongLived == nil {
		findings = append(findings, Finding{Fault, subject, fmt.Sprintf("tokens live for %s, counted as exp - iat, and Apple refuses more than %s", life, appStoreMost), "lower default_ttl or backdate"})
	}
	if clock == nil {
		return findings
	}
	ahead := clock.certain()
	if ahead > p.Backdate {
		findings = append(findings, Finding{Fault, subject, fmt.Sprintf("by the clock of %s its tokens are issued %s in the future, which Apple refuses with 401", clock.of, inWords(ahead-p.Backdate)), "have NTP keep this machine's clock"})
	}
	longest := p.MaxTTL
	if p.MaxLifetime > 0 { // beyond it are the long-lived ones alone, which have months
		longest = min(longest, p.MaxLifetime-p.Backdate)
	}
	if ends := longest + ahead; ahead > 0 && longest <= appStoreMost && ends > appStoreMost {
		findings = append(findings, Finding{Warning, subject, fmt.Sprintf("by the clock of %s a token of max_ttl ends %s ahead, and Apple refuses more than %s", clock.of, inWords(ends), appStoreMost), "have NTP keep this machine's clock"})
	}
	return findings
}
