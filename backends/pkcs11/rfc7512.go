package pkcs11

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The characters that may stand for themselves (RFC 7512 section 2.3,
// pk11-pchar and pk11-qchar), beside letters and digits. All others are
// written as %XX.
const (
	unreserved   = "-._~"
	reserved     = ":[]@!$'()*+,="
	pathLiteral  = unreserved + reserved + "&"
	queryLiteral = unreserved + reserved + "/?|"
)

// attribute is one name=value of a URI.
type attribute struct {
	name  string
	raw   string // as written
	value []byte // percent-decoded
}

// text is the value of an attribute that holds UTF-8 text.
func (a attribute) text() (string, error) {
	if a.name == "pin-value" {
		return "", nil // refused by its reader, whatever it is
	}
	if len(a.value) == 0 {
		return "", fmt.Errorf("%s is empty: give it a value or leave it out", a.name)
	}
	if !utf8.Valid(a.value) || strings.ContainsRune(string(a.value), 0) {
		return "", fmt.Errorf("%s is not UTF-8 text without NUL", a.name)
	}
	return string(a.value), nil
}

// splitURI reads a URI's path and query attributes without judging their names.
func splitURI(uri string) (path, query []attribute, err error) {
	if len(uri) > maxURI {
		return nil, nil, fmt.Errorf("the URI is longer than %d bytes", maxURI)
	}
	rest, ok := strings.CutPrefix(uri, Scheme+":")
	if !ok {
		return nil, nil, errors.New("not a PKCS#11 URI: write pkcs11:token=LABEL?module-path=FILE&pin-source=file:FILE")
	}
	rawPath, rawQuery, hasQuery := strings.Cut(rest, "?")
	if path, err = splitAttributes(rawPath, ";", pathLiteral); err != nil {
		return nil, nil, err
	}
	if hasQuery {
		if query, err = splitAttributes(rawQuery, "&", queryLiteral); err != nil {
			return nil, nil, err
		}
	}
	return path, query, nil
}

// splitAttributes reads name=value pairs, each name once.
func splitAttributes(s, separator, literal string) ([]attribute, error) {
	if s == "" {
		return nil, nil
	}
	var attributes []attribute
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(s, separator) {
		name, raw, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("attribute %d is not of the form name=value", len(attributes)+1)
		}
		if seen[name] {
			return nil, fmt.Errorf("attribute %q is given twice", name)
		}
		seen[name] = true
		if name == "pin-value" {
			raw = "" // a secret: it is refused later, and no error may quote it
		}
		value, err := unescape(raw, literal)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		attributes = append(attributes, attribute{name, raw, value})
	}
	return attributes, nil
}

// unescape decodes %XX. Unlike a form's decoder it leaves a plus sign alone,
// and unlike a URL's it takes no character that should have been escaped.
func unescape(s, literal string) ([]byte, error) {
	value := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return nil, errors.New("% is not followed by two hexadecimal digits")
			}
			high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
			if high < 0 || low < 0 {
				return nil, errors.New("% is not followed by two hexadecimal digits")
			}
			value = append(value, byte(high<<4|low))
			i += 2
		case alphanumeric(c) || strings.IndexByte(literal, c) >= 0:
			value = append(value, c)
		default:
			return nil, fmt.Errorf("character %q must be written as %%%02X", c, c)
		}
	}
	return value, nil
}

// escape writes a value so that unescape reads it.
func escape(s, literal string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; alphanumeric(c) || strings.IndexByte(literal, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// escapeAll writes every byte as %XX.
func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
