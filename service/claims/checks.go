package claims

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// The named checks: what a consumer documents and no pattern can say.
const (
	CheckASCScope     = "app_store_connect_scope"
	CheckASCLongLived = "app_store_connect_long_lived"
)

// runCheck runs a named check over a string or the items of a list. The empty
// name is no check.
func runCheck(name string, items []string) error {
	var check func(string) error
	switch name {
	case "":
		return nil
	case CheckASCScope:
		check = ascScope
	case CheckASCLongLived:
		check = ascLongLived
	default:
		return errors.New("has an unknown check")
	}
	for i, item := range items {
		if err := check(item); err != nil {
			return fmt.Errorf("item %d %w", i, err)
		}
	}
	return nil
}

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
	path, _, _ := strings.Cut(strings.TrimPrefix(entry, "GET "), "?")
	if !ascLongLivedPath.MatchString(path) {
		return errors.New("names a resource that App Store Connect gives no long-lived tokens for")
	}
	return nil
}
