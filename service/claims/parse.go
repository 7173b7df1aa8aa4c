package claims

import (
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of the caller's JSON.
const (
	MaxBytes = 32 << 10
	maxDepth = 16
	maxNames = 256
)

// maxSafeInteger is the greatest integer that every JSON reader reads exactly
// (RFC 7493 section 2.2).
const maxSafeInteger = 1<<53 - 1

// kind is a JSON type as the rules see it.
type kind string

const (
	kindString  kind = "string"
	kindInteger kind = "integer"
	kindNumber  kind = "number that is not an integer"
	kindBool    kind = "boolean"
	kindNull    kind = "null"
	kindList    kind = "array of strings"
	kindArray   kind = "array"
	kindObject  kind = "object"
)

// value is one claim's value. Of arrays other than of strings and of objects
// only the kind is kept, for no rule accepts them.
type value struct {
	kind    kind
	text    string
	integer int64
	boolean bool
	list    []string
}

// items returns a string or the strings of a list; nothing of any other value,
// or of none.
func (v *value) items() []string {
	switch {
	case v == nil:
		return nil
	case v.kind == kindString:
		return []string{v.text}
	default:
		return v.list
	}
}

// member is one name and value of the caller's object.
type member struct {
	name  string
	value value
}

// parse reads the caller's claims: exactly one JSON object (RFC 8259), without
// duplicate names at any depth, invalid UTF-8, lone surrogates, a byte order
// mark or anything after it, and with numbers that every reader reads alike.
// Its error is fit for the caller.
func parse(text string) ([]member, error) { return new(decoders).parse(text) }

// decoders parses many texts, and keeps what it has parsed with. The zero value is
// ready, and safe for concurrent use.
type decoders struct {
	kept sync.Pool // of *decoder
}

// decoder is a decoder with the text that it reads.
type decoder struct {
	text strings.Reader
	*jsontext.Decoder
}

// parse is the function parse.
func (d *decoders) parse(text string) ([]member, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > MaxBytes {
		return nil, errors.New("longer than " + strconv.Itoa(MaxBytes) + " bytes")
	}
	one, ok := d.kept.Get().(*decoder)
	if !ok {
		one = &decoder{}
		one.Decoder = jsontext.NewDecoder(&one.text)
	}
	defer d.kept.Put(one)
	one.text.Reset(text)
	one.Reset(&one.text)
	return parseObject(one.Decoder)
}

// parseObject reads one object, and nothing behind it. What it returns has no part of
// the decoder's buffer.
func parseObject(dec *jsontext.Decoder) ([]member, error) {
	if dec.PeekKind() != '{' {
		if _, err := dec.ReadToken(); err != nil {
			return nil, syntaxError(err)
		}
		return nil, errors.New("not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, syntaxError(err)
	}
	var members []member
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, syntaxError(err)
		}
		if len(members) == maxNames {
			return nil, errors.New("more than " + strconv.Itoa(maxNames) + " names")
		}
		m := member{name: name.String()}
		if m.value, err = parseValue(dec); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, syntaxError(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

// parseFixed reads a value that a profile fixes.
func parseFixed(fixed jsontext.Value) (value, error) {
	members, err := parse(`{"fixed":` + string(fixed) + `}`)
	switch {
	case err != nil:
		return value{}, err
	case len(members) != 1:
		return value{}, errors.New("not one JSON value")
	}
	return members[0].value, nil
}

// parseValue reads the next value whole.
func parseValue(dec *jsontext.Decoder) (value, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return value{}, syntaxError(err)
	}
	switch tok.Kind() {
	case '"':
		return value{kind: kindString, text: tok.String()}, nil
	case '0':
		return parseNumber(tok.String())
	case 't', 'f':
		return value{kind: kindBool, boolean: tok.Bool()}, nil
	case 'n':
		return value{kind: kindNull}, nil
	case '[':
		return parseArray(dec)
	default:
		return value{kind: kindObject}, skipRest(dec, dec.StackDepth()-1)
	}
}

// parseArray reads the rest of an array. It is a list while all its items are
// strings.
func parseArray(dec *jsontext.Decoder) (value, error) {
	outside := dec.StackDepth() - 1
	list := []string{}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return value{}, syntaxError(err)
		}
		list = append(list, tok.String())
	}
	if dec.PeekKind() != ']' {
		return value{kind: kindArray}, skipRest(dec, outside)
	}
	if _, err := dec.ReadToken(); err != nil {
		return value{}, syntaxError(err)
	}
	return value{kind: kindList, list: list}, nil
}

// skipRest reads on until the decoder is back at depth outside, checking what
// must hold at any depth.
func skipRest(dec *jsontext.Decoder, outside int) error {
	for dec.StackDepth() > outside {
		tok, err := dec.ReadToken()
		if err != nil {
			return syntaxError(err)
		}
		if dec.StackDepth() > maxDepth {
			return errors.New("deeper than " + strconv.Itoa(maxDepth) + " levels")
		}
		if tok.Kind() == '0' {
			if _, err := parseNumber(tok.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseNumber accepts integers that every reader reads exactly, and fractions
// that a float64 can hold. An integer is one by its text: 1.0 is not.
func parseNumber(text string) (value, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) {
			return value{}, errors.New("a number is too large")
		}
		return value{kind: kindNumber}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxSafeInteger || n < -maxSafeInteger {
		return value{}, errors.New("an integer is beyond 2^53-1 and would be read differently by different readers; send it as a string")
	}
	return value{kind: kindInteger, integer: n}, nil
}

// syntaxError says what is wrong without repeating the caller's text.
func syntaxError(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("a name stands twice in one object")
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not valid JSON at byte " + strconv.FormatInt(syntactic.ByteOffset, 10))
	}
	return errors.New("not valid JSON: it ends too early")
}
