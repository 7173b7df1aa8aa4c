package claims

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// claimName is a name that can be told apart from every other by eye and by
// machine: printable ASCII.
var claimName = regexp.MustCompile(`\A[!-~]{1,128}\z`)

// registered are the claim names of RFC 7519 section 4.1.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// CheckName says why no profile can have a claim of this name: it could be
// mistaken for another. The registered names of RFC 7519 are lower case alone.
func CheckName(name string) error {
	if !claimName.MatchString(name) {
		return fmt.Errorf("claim name %q is not 1 to 128 printable ASCII characters", name)
	}
	for _, r := range registered {
		if name != r && strings.EqualFold(name, r) {
			return fmt.Errorf("claim name %q could be mistaken for %q", name, r)
		}
	}
	return nil
}

// headerName is the name of a header parameter beyond those of the RFCs.
var headerName = regexp.MustCompile(`\A[a-z][a-z0-9_]{0,31}\z`)

// registeredHeaders are header parameters with a meaning of their own: those of
// RFC 7515 section 4.1, RFC 7516 section 4.1, RFC 7518 section 4, RFC 7519
// section 5.3, RFC 7797, RFC 8225 section 8.1, RFC 8555 section 6 and RFC 9321. They
// say which key and algorithm verify a token, and whether it is one at all. The
// nonce of RFC 8555 is not among them: verifiers of tokens ask for one.
var registeredHeaders = []string{
	"alg", "kid", "typ", "cty", "crit", "jku", "jwk", "x5u", "x5c", "x5t", "b64", "enc", "zip",
	"epk", "apu", "apv", "iv", "tag", "p2s", "p2c", "url", "ppt", "svt", "trust_chain", "iss", "sub", "aud",
}

// CheckHeader says why no profile can have this rule for a header parameter.
func CheckHeader(name string, rule Rule) error {
	switch {
	case !headerName.MatchString(name):
		return fmt.Errorf("header parameter %q is not a letter and up to 31 letters, digits and underscores, all lower case", name)
	case slices.Contains(registeredHeaders, name):
		return fmt.Errorf("header parameter %q has a meaning of its own and is not for a profile to set", name)
	case rule.Fixed != nil:
		v, err := parseFixed(rule.Fixed)
		if err == nil && (v.kind != kindString || v.text == "") {
			err = fmt.Errorf("header parameter %q has to be a string that is not empty", name)
		}
		return err
	case !rule.Random():
		return fmt.Errorf("header parameter %q can be fixed, a template, or computed as uuid or nonce", name)
	}
	return nil
}

// CheckRule says why no profile can have this rule for this claim: its fixed
// value would be read differently by different readers, or it gives a
// registered claim another type than RFC 7519 section 4.1 does. When a token
// ends and when it was made is never for a caller or a file to say.
func CheckRule(name string, rule Rule) error {
	kinds, computed := registeredTypes(name)
	switch {
	case rule.Fixed != nil:
		v, err := parseFixed(rule.Fixed)
		switch {
		case err != nil:
			return err
		case kinds == nil:
			return nil
		case !slices.Contains(kinds, v.kind):
			return fmt.Errorf("%s cannot be of type %s (RFC 7519 section 4.1)", name, v.kind)
		case v.kind != kindInteger && (len(v.items()) == 0 || slices.Contains(v.items(), "")):
			return errors.New("is empty")
		}
	case rule.Caller != nil:
		if kinds != nil && slices.ContainsFunc(callerKinds(rule.Caller.Type), func(k kind) bool { return !slices.Contains(kinds, k) }) {
			return fmt.Errorf("%s cannot be %s from the caller (RFC 7519 section 4.1)", name, typeNames[rule.Caller.Type])
		}
	case rule.Forbidden:
	default:
		if kinds != nil && !slices.Contains(computed, rule.Computed) {
			return fmt.Errorf("%s cannot be computed as %s (RFC 7519 section 4.1)", name, rule.Computed)
		}
	}
	return nil
}

// registeredTypes returns the types that a registered claim can have when it
// is fixed or the caller's, and what it can be computed as. For any other
// claim kinds is nil.
func registeredTypes(name string) (kinds []kind, computed []Computed) {
	switch name {
	case "iss", "sub", "jti":
		return []kind{kindString}, []Computed{UUID, Nonce}
	case "aud":
		return []kind{kindString, kindList}, nil
	case "nbf":
		return []kind{kindInteger}, []Computed{NotBefore, IssueTime}
	case "iat":
		return []kind{}, []Computed{IssueTime}
	case "exp":
		return []kind{}, []Computed{ExpireTime}
	}
	return nil, nil
}

// callerKinds returns the kinds that a CallerRule's type stands for.
func callerKinds(typ string) []kind {
	switch typ {
	case "integer":
		return []kind{kindInteger}
	case "boolean":
		return []kind{kindBool}
	case "string_list":
		return []kind{kindList}
	case "string_or_list":
		return []kind{kindString, kindList}
	}
	return []kind{kindString}
}
