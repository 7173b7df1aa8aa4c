package awskms

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// Scheme is the scheme of this backend's URIs.
const Scheme = "awskms"

// Defaults and bounds of the URI's numeric attributes.
const (
	defaultRate        = 900 // per second; KMS's own quota is 1,000 per account and Region, or 300 in an older account
	maxRate            = 100_000
	defaultMaxInFlight = 64
	maxMaxInFlight     = 4096
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
	if region := regionOf(keyID); s.region == "" && region != "" {
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
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return "", "", fmt.Errorf("malformed %s URI: %w", Scheme, err)
	case u.Scheme != Scheme:
		return "", "", fmt.Errorf("URI's scheme is %q, want %s:", u.Scheme, Scheme)
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
		if !isRegion(value) {
			return wrong("the name of a Region such as eu-west-1")
		}
		s.region = value
	case "profile":
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == '[' || r == ']' }) {
			return wrong("the name of a profile in the shared config file")
		}
		s.profile = value
	case "role-arn":
		role, err := arn.Parse(value)
		if err != nil || role.Service != "iam" || !isAccount(role.AccountID) || !strings.HasPrefix(role.Resource, "role/") {
			return wrong("a role ARN such as arn:aws:iam::111122223333:role/NAME")
		}
		s.roleARN = value
	case "role-session-name":
		if len(value) < 2 || len(value) > 64 || !onlyOf(value, isLower, isUpper, isDigit, among("_+=,.@-")) {
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
		a, err := arn.Parse(id)
		if err != nil || !strings.HasPrefix(a.Partition, "aws") || a.Service != "kms" || !isRegion(a.Region) || !isAccount(a.AccountID) {
			return errors.New("malformed ARN: want arn:aws:kms:REGION:ACCOUNT:key/ID or arn:aws:kms:REGION:ACCOUNT:alias/NAME")
		}
		if region != "" && a.Region != region {
			return fmt.Errorf("the ARN is of Region %s and the backend of %s: use a backend with region=%s", a.Region, region, a.Region)
		}
		if key, ok := strings.CutPrefix(a.Resource, "key/"); ok && isKeyID(key) {
			return nil
		}
		name = a.Resource
		if !strings.HasPrefix(name, "alias/") {
			return errors.New("the ARN is of no key and no alias: want key/ID or alias/NAME at its end")
		}
	}
	if alias, ok := strings.CutPrefix(name, "alias/"); ok {
		if alias == "" || len(name) > 256 || !onlyOf(alias, isLower, isUpper, isDigit, among("/_-")) {
			return errors.New("malformed alias: want alias/ and letters, digits, /, _ and -")
		}
		return nil
	}
	if !isKeyID(name) {
		return errors.New("no id of a KMS key: want a key ARN, an alias ARN, a key id, or alias/NAME with the word alias")
	}
	return nil
}

// regionOf returns the Region that an ARN names, empty for the other ids.
func regionOf(id string) string {
	a, err := arn.Parse(id)
	if err != nil {
		return ""
	}
	return a.Region
}

// isKeyARN says whether KMS's answer names a key as the answers must.
func isKeyARN(s string) bool {
	a, err := arn.Parse(s)
	return err == nil && strings.HasPrefix(a.Resource, "key/") && checkKeyID(s, "") == nil
}

// isKeyID accepts a UUID and the id of a multi-Region key, mrk- and 32 digits.
func isKeyID(s string) bool {
	if digits, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(digits) == 32 && onlyOf(digits, isHex)
	}
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

// isRegion keeps what becomes a part of KMS's host name to one DNS label.
func isRegion(s string) bool {
	return len(s) <= 40 && strings.Contains(s, "-") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-") &&
		onlyOf(s, isLower, isDigit, among("-"))
}

func isAccount(s string) bool { return len(s) == 12 && onlyOf(s, isDigit) }

// onlyOf says whether every byte of s is in one of the classes.
func onlyOf(s string, classes ...func(byte) bool) bool {
	for i := range len(s) {
		if !slices.ContainsFunc(classes, func(in func(byte) bool) bool { return in(s[i]) }) {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c && c <= 'f' }

func among(set string) func(byte) bool {
	return func(c byte) bool { return strings.IndexByte(set, c) >= 0 }
}
