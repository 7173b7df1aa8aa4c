package claims

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Computed names a value that is worked out at each minting.
type Computed string

// The computed values.
const (
	IssueTime  Computed = "issue_time"  // NumericDate (RFC 7519 section 2): now less the profile's backdate
	ExpireTime Computed = "expire_time" // NumericDate: now plus the ttl
	NotBefore  Computed = "not_before"  // the same as IssueTime
	UUID       Computed = "uuid"        // a random UUID (RFC 9562 section 5.4)
	Nonce      Computed = "nonce"       // 16 random bytes in hexadecimal
)

// Rule says where one claim's value comes from; exactly one field is set,
// beside Doc.
type Rule struct {
	Fixed     jsontext.Value // always this value, as compact JSON
	Computed  Computed
	Caller    *CallerRule
	Forbidden bool // never there, whatever the caller sends

	Doc string // the verifier's document that demands the rule, where one is known
}

// Random says whether the rule gives another value each time it is asked.
func (r Rule) Random() bool { return r.Computed == UUID || r.Computed == Nonce }

// CallerRule says which of the caller's values are accepted. Every condition
// that is set must hold.
type CallerRule struct {
	Type      string // "string", "integer", "boolean", "string_list" or "string_or_list"
	Required  bool
	Pattern   *regexp.Regexp // must match the whole string or item
	OneOf     []string
	Min, Max  *int64
	MaxLength int // bytes in a string or item
	MaxItems  int
	Check     string // a named check

	// Narrows is another rule that the value must pass too: the preset's.
	Narrows *CallerRule
}

// CompilePattern compiles a pattern that must match a whole string (RE2).
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	// By itself first: "a)|(?:b" is whole only inside the anchors, and would
	// undo them.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// accepts returns why v is refused, in words fit for the caller, or nil.
func (r *CallerRule) accepts(v value) error {
	if r.Narrows != nil {
		if err := r.Narrows.accepts(v); err != nil {
			return err
		}
	}
	switch {
	case v.kind == kindString && (r.Type == "string" || r.Type == "string_or_list"):
		if err := r.acceptsString(v.text); err != nil {
			return err
		}
		return checkString(r.Check, v.text)
	case v.kind == kindList && (r.Type == "string_list" || r.Type == "string_or_list"):
		return r.acceptsList(v.list)
	case v.kind == kindInteger && r.Type == "integer":
		return r.acceptsInteger(v.integer)
	case v.kind == kindBool && r.Type == "boolean":
		return nil
	}
	return fmt.Errorf("is of type %s; the profile takes %s", v.kind, typeNames[r.Type])
}

func (r *CallerRule) acceptsString(s string) error {
	switch {
	case len(s) > r.MaxLength:
		return fmt.Errorf("is longer than %d bytes", r.MaxLength)
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("holds a control character")
	case r.Pattern != nil && !r.Pattern.MatchString(s):
		return errors.New("does not match the profile's pattern")
	case len(r.OneOf) > 0 && !slices.Contains(r.OneOf, s):
		return errors.New("is not among the profile's values")
	}
	return nil
}

func (r *CallerRule) acceptsList(list []string) error {
	switch {
	case len(list) == 0:
		return errors.New("is an empty list")
	case len(list) > r.MaxItems:
		return fmt.Errorf("has more than %d items", r.MaxItems)
	}
	for i, item := range list {
		if err := r.acceptsString(item); err != nil {
			return fmt.Errorf("item %d %w", i, err)
		}
		if slices.Contains(list[:i], item) {
			return fmt.Errorf("item %d stands twice", i)
		}
	}
	return runCheck(r.Check, list)
}

func (r *CallerRule) acceptsInteger(n int64) error {
	switch {
	case r.Min != nil && n < *r.Min:
		return fmt.Errorf("is less than %d", *r.Min)
	case r.Max != nil && n > *r.Max:
		return fmt.Errorf("is more than %d", *r.Max)
	}
	return nil
}

// CheckValue says why a JSON value would be refused if a caller sent it.
func (r *CallerRule) CheckValue(fixed jsontext.Value) error {
	v, err := parseFixed(fixed)
	if err != nil {
		return err
	}
	return r.accepts(v)
}

// typeNames are the types of CallerRule in words.
var typeNames = map[string]string{
	"string":         "a string",
	"integer":        "an integer",
	"boolean":        "a boolean",
	"string_list":    "an array of strings",
	"string_or_list": "a string or an array of strings",
}

// appendJSON appends the value as compact JSON. The value has passed a rule.
func (v value) appendJSON(b []byte) []byte {
	switch v.kind {
	case kindString:
		return appendString(b, v.text)
	case kindInteger:
		return strconv.AppendInt(b, v.integer, 10)
	case kindBool:
		return strconv.AppendBool(b, v.boolean)
	default:
		b = append(b, '[')
		for i, item := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, item)
		}
		return append(b, ']')
	}
}

// appendString appends a JSON string. Valid UTF-8 cannot fail.
func appendString(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		panic("claims: string is not UTF-8: " + err.Error())
	}
	return b
}
