package claims

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// ascPath is the path of a scope entry: /v1/apps and the like, plain segments
// only.
var ascPath = regexp.MustCompile(`\A/v[1-9][0-9]?(/[A-Za-z0-9._~-]+)+\z`)

// ascQuery is the query of a scope entry: what RFC 3986 section 3.4 allows, and
// the brackets of filter[platform].
var ascQuery = regexp.MustCompile(`\A[A-Za-z0-9._~!$&'()*+,;=:@/?%\[\]-]+\z`)

// ascScope checks one entry of App Store Connect's scope claim:
// "GET <path>[?<query>]".
// https://developer.apple.com/documentation/appstoreconnectapi/generating-tokens-for-api-requests
func ascScope(entry string) error {
	target, ok := strings.CutPrefix(entry, "GET ")
	if !ok {
		return errors.New("does not start with \"GET \"; App Store Connect accepts no other method in a scope")
	}
	path, query, hasQuery := strings.Cut(target, "?")
	if !ascPath.MatchString(path) || strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") {
		return errors.New("has no path such as /v1/apps after \"GET \"")
	}
	if hasQuery {
		if _, err := url.ParseQuery(query); err != nil || !ascQuery.MatchString(query) {
			return errors.New("has no well-formed query after its \"?\"")
		}
	}
	return nil
}

// ascPathOf returns the path of an entry that has passed ascScope.
func ascPathOf(entry string) string {
	path, _, _ := strings.Cut(strings.TrimPrefix(entry, "GET "), "?")
	return path
}

// ascNotIndividual are the resources that individual keys cannot use, in lower
// case: "Individual keys aren't able to use Provisioning endpoints, access
// Sales and Finance, or notaryTool." The notary's paths, under /notary, are no
// scope of anybody's.
// https://developer.apple.com/documentation/appstoreconnectapi/creating-api-keys-for-app-store-connect-api
var ascNotIndividual = []string{
	"bundleids", "bundleidcapabilities", "certificates", "devices", "merchantids", "passtypeids", "profiles",
	"salesreports", "financereports",
}

// ascIndividualScope checks an entry of the scope of an individual key.
func ascIndividualScope(entry string) error {
	if err := ascScope(entry); err != nil {
		return err
	}
	// /v1/bundleIds/123/profiles: the resource is the second segment.
	resource := strings.ToLower(strings.Split(ascPathOf(entry), "/")[2])
	if slices.Contains(ascNotIndividual, resource) {
		return errors.New("names a resource of Provisioning or of Sales and Finance, which App Store Connect gives no individual key")
	}
	return nil
}

// ascLongLivedPath matches the paths of the thirteen resources for which App
// Store Connect accepts a token of up to six months, as its "Determine the
// Appropriate Token Lifetime" lists them: Build Actions, Build Runs, Git
// References, Issues, macOS Versions, Products, Providers, Power and
// Performance Metrics and Logs, Pull Requests, Repositories, Test Results,
// Workflows, Xcode Versions.
var ascLongLivedPath = regexp.MustCompile(`\A/v1/(?:` +
	`(?:ciBuildActions|ciBuildRuns|ciIssues|ciMacOsVersions|ciProducts|ciTestResults|ciWorkflows|ciXcodeVersions` +
	`|scmGitReferences|scmProviders|scmPullRequests|scmRepositories)(?:/.+)?` +
	`|apps/[^/]+/perfPowerMetrics` +
	`|builds/[^/]+/(?:perfPowerMetrics|diagnosticSignatures)` +
	`|diagnosticSignatures/[^/]+/logs` +
	`)\z`)

// ascLongLived checks that an entry names a resource of that list.
func ascLongLived(entry string) error {
	if err := ascScope(entry); err != nil {
		return err
	}
	if !ascLongLivedPath.MatchString(ascPathOf(entry)) {
		return errors.New("names a resource that App Store Connect gives no long-lived tokens for")
	}
	return nil
}
