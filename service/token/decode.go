package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxSize is the longest text, in bytes, that Decode looks at.
const MaxSize = 64 << 10

// Decoded is a token taken apart. Nothing in it has been verified.
type Decoded struct {
	Header    jsontext.Value // a JSON object
	Claims    jsontext.Value // a JSON object
	Signature []byte
	Input     string // the signing input
}

// Decode takes a compact serialization apart, strictly: three parts of
// unpadded canonical base64url, the first two each one JSON object without
// duplicate names. It verifies nothing.
func Decode(compact string) (Decoded, error) {
	if len(compact) > MaxSize {
		return Decoded{}, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	if dots := strings.Count(compact, "."); dots != 2 {
		return Decoded{}, fmt.Errorf("%d parts separated by dots, and a JWT has 3", dots+1)
	}
	parts := strings.Split(compact, ".")
	header, err := decodeObject(parts[0])
	if err != nil {
		return Decoded{}, fmt.Errorf("header: %w", err)
	}
	claims, err := decodeObject(parts[1])
	if err != nil {
		return Decoded{}, fmt.Errorf("claims set: %w", err)
	}
	signature, err := decodeSegment(parts[2])
	if err != nil {
		return Decoded{}, fmt.Errorf("signature: %w", err)
	}
	return Decoded{header, claims, signature, parts[0] + "." + parts[1]}, nil
}

func decodeSegment(segment string) ([]byte, error) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, errors.New("not base64url without padding")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, errors.New("not base64url without padding")
	}
	return raw, nil
}

func decodeObject(segment string) (jsontext.Value, error) {
	raw, err := decodeSegment(segment)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(raw)
	if !value.IsValid() {
		return nil, errors.New("not valid JSON, or a name stands twice")
	}
	if value.Kind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	return value, nil
}
