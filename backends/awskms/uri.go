package awskms

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Scheme is the scheme of this backend's URIs.
const Scheme = "awskms"

// Defaults and bounds of the URI's numeric attributes.
const (
	defaultRate        = 900 // per second; KMS's own quota is 1,000 per account and Region in AWS's current text, 300 in older
	maxRate            = 100_000
	defaultMaxInFlight = 64
	maxMaxInFlight     = 4096
)

// What names look like.
const (
	partitionPattern = `aws[a-z-]*`
	regionPattern    = `[a-z]{1,10}(-[a-z0-9]{1,10}){1,5}` // becomes a part of KMS's host name
	accountPattern   = `[0-9]{12}`
	keyIDPattern     = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}` // the latter of a multi-Region key
	aliasPattern     = `alias/[A-Za-z0-9/_-]{1,250}`
	rolePattern      = `arn:` + partitionPattern + `:iam::` + accountPattern + `:role/[!-~]+`
	sessionPattern   = `[A-Za-z0-9_+=,.@-]{2,64}`
	profilePattern   = `[^\x00-\x1f\x7f\[\]]+`
)

// settings is what a backend URI says. The zero value of a text means that the
// SDK's environment and shared config decide.
type settings struct {
	region          string
	profile         string
	roleARN         string
	roleSessionName string
	endpoint        string
	rate            int // signatures per second
	maxInFlight     int // calls on the wire at once
}

// CheckURI says what is wrong with a backend URI. It does no I/O.
func CheckURI(uri string) error {
	_, err := parseBackendURI(uri)
	return err
}

// SplitKeyURI splits the URI of one key, such as
// awskms:///alias/tokens?region=eu-west-1 or
// awskms:arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab,
// into the URI to Open and the id to Describe. A Region that only the ARN
// names is added to the backend's URI.
func SplitKeyURI(uri string) (backendURI, keyID string, err error) {
	keyID, query, err := splitURI(uri)
	if err != nil {
		return "", "", err
	}
	if keyID == "" {
		return "", "", fmt.Errorf("%s URI names no key: write %s:///alias/NAME, or a key id or key ARN in place of alias/NAME", Scheme, Scheme)
	}
	s, err := parseAttributes(query)
	if err != nil {
		return "", "", err
	}
	if err := checkKeyID(keyID, s.region); err != nil {
		return "", "", err
	}
	if region, _, ok := splitARN(keyID); ok && s.region == "" {
		if query != "" {
			query += "&"
		}
		query += "region=" + region
	}
	if query == "" {
		return Scheme + ":", keyID, nil
	}
	return Scheme + ":?" + query, keyID, nil
}

func parseBackendURI(uri string) (settings, error) {
	keyID, query, err := splitURI(uri)
	if err != nil {
		return settings{}, err
	}
	if keyID != "" {
		return settings{}, fmt.Errorf("%s URI of a backend names the key %q: leave it out here and name it as the key's id", Scheme, keyID)
	}
	return parseAttributes(query)
}

// splitURI takes awskms:KEY?ATTRIBUTES and awskms:///KEY?ATTRIBUTES, in which
// both parts may be empty.
func splitURI(uri string) (keyID, query string, err error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err
		}
		return "", "", fmt.Errorf("malformed %s URI: %w", Scheme, err)
	case u.Scheme != Scheme:
		return "", "", fmt.Errorf("URI's scheme is %q, want %s", u.Scheme, Scheme)
	case u.User != nil || u.Host != "":
		return "", "", fmt.Errorf("%s URI has a host: write three slashes, %s:///KEY, and the address of a KMS of your own as endpoint=", Scheme, Scheme)
	case strings.Contains(uri, "#"):
		return "", "", fmt.Errorf("%s URI has a fragment (#): leave it out", Scheme)
	}
	keyID = strings.TrimPrefix(u.Path, "/")
	if u.Opaque != "" {
		if keyID, err = url.PathUnescape(u.Opaque); err != nil {
			return "", "", fmt.Errorf("malformed %s URI: %w", Scheme, err)
		}
	}
	return keyID, u.RawQuery, nil
}

func parseAttributes(query string) (settings, error) {
	s := settings{rate: defaultRate, maxInFlight: defaultMaxInFlight}
	values, err := url.ParseQuery(query)
	if err != nil {
		return settings{}, fmt.Errorf("malformed attributes of the %s URI: %w", Scheme, err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the first mistake reported is always the same
	for _, name := range names {
		if len(values[name]) > 1 {
			return settings{}, fmt.Errorf("%s URI's attribute %s is given twice", Scheme, name)
		}
		value := values[name][0]
		if value == "" {
			return settings{}, fmt.Errorf("%s URI's attribute %s is empty: give a value or leave it out", Scheme, name)
		}
		if err := s.set(name, value); err != nil {
			return settings{}, err
		}
	}
	if s.roleSessionName != "" && s.roleARN == "" {
		return settings{}, fmt.Errorf("%s URI has role-session-name without role-arn: add role-arn or leave it out", Scheme)
	}
	return s, nil
}

func (s *settings) set(name, value string) (err error) {
	wrong := func(want string) error {
		return fmt.Errorf("%s URI's attribute %s is %q, want %s", Scheme, name, value, want)
	}
	switch name {
	case "region":
		if !matches(regionPattern, value) {
			return wrong("the name of a Region such as eu-west-1")
		}
		s.region = value
	case "profile":
		if !matches(profilePattern, value) {
			return wrong("the name of a profile in the shared config file")
		}
		s.profile = value
	case "role-arn":
		if !matches(rolePattern, value) {
			return wrong("a role ARN such as arn:aws:iam::111122223333:role/NAME")
		}
		s.roleARN = value
	case "role-session-name":
		if !matches(sessionPattern, value) {
			return wrong("2 to 64 letters, digits and any of _+=,.@- (write %2B for +)")
		}
		s.roleSessionName = value
	case "endpoint":
		if err := checkEndpoint(value); err != nil {
			return fmt.Errorf("%s URI's attribute endpoint: %w", Scheme, err)
		}
		s.endpoint = value
	case "rate":
		if s.rate, err = strconv.Atoi(value); err != nil || s.rate < 1 || s.rate > maxRate {
			return wrong(fmt.Sprintf("signatures per second, 1 to %d", maxRate))
		}
	case "max-in-flight":
		if s.maxInFlight, err = strconv.Atoi(value); err != nil || s.maxInFlight < 1 || s.maxInFlight > maxMaxInFlight {
			return wrong(fmt.Sprintf("calls at once, 1 to %d", maxMaxInFlight))
		}
	default:
		return fmt.Errorf("%s URI has the unknown attribute %q; known are endpoint, max-in-flight, profile, rate, region, role-arn, role-session-name", Scheme, name)
	}
	return nil
}

// checkEndpoint refuses plain HTTP to another machine: whoever sits between
// could answer with a public key of its own.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Path != "" && u.Path != "/") || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("want https://HOST or https://HOST:PORT and nothing more")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%s is plain HTTP to another machine: use https, http is for loopback addresses only", u.Host)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// checkKeyID says whether KMS could know a key by this id: a key ARN, an alias
// ARN, alias/NAME or a key id. region is the backend's, or empty when unknown.
func checkKeyID(id, region string) error {
	name := id
	if strings.HasPrefix(id, "arn:") {
		of, resource, ok := splitARN(id)
		switch {
		case !ok:
			return errors.New("malformed ARN: want arn:aws:kms:REGION:ACCOUNT:key/ID or arn:aws:kms:REGION:ACCOUNT:alias/NAME")
		case region != "" && of != region:
			return fmt.Errorf("the ARN is of Region %s and the backend of %s: use a backend with region=%s", of, region, of)
		}
		if key, ok := strings.CutPrefix(resource, "key/"); ok && matches(keyIDPattern, key) {
			return nil
		}
		if !strings.HasPrefix(resource, "alias/") {
			return errors.New("the ARN is of no key and no alias: want key/ID or alias/NAME at its end")
		}
		name = resource
	}
	switch {
	case strings.HasPrefix(name, "alias/"):
		if !matches(aliasPattern, name) {
			return errors.New("malformed alias: want alias/ and up to 250 letters, digits, /, _ and -")
		}
	case !matches(keyIDPattern, name):
		return errors.New("no id of a KMS key: want a key ARN, an alias ARN, a key id, or alias/NAME with the word alias")
	}
	return nil
}

// answersTo says whether a key ARN can be KMS's answer to id. An alias tells
// nothing of its key.
func answersTo(keyARN, id, region string) bool {
	of, resource, ok := splitARN(keyARN)
	key, isKey := strings.CutPrefix(resource, "key/")
	switch {
	case !ok || of != region || !isKey || !matches(keyIDPattern, key):
		return false
	case strings.HasPrefix(id, "alias/") || strings.Contains(id, ":alias/"):
		return true
	case strings.HasPrefix(id, "arn:"):
		return keyARN == id
	}
	return key == id
}

// splitARN returns the Region and the resource of one of KMS's ARNs.
func splitARN(s string) (region, resource string, ok bool) {
	a, err := arn.Parse(s)
	if err != nil || !matches(partitionPattern, a.Partition) || a.Service != "kms" ||
		!matches(regionPattern, a.Region) || !matches(accountPattern, a.AccountID) {
		return "", "", false
	}
	return a.Region, a.Resource, true
}

// matches compiles the pattern at each call: it is for what is read once.
func matches(pattern, s string) bool {
	ok, err := regexp.MatchString("^(?:"+pattern+")$", s)
	return ok && err == nil
}
