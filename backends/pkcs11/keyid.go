package pkcs11

import (
	"errors"
	"fmt"
	"strings"
)

// keyID says which private key of a token is meant; an empty field matches any.
type keyID struct {
	label string // CKA_LABEL
	id    string // CKA_ID, any bytes
}

// parseKeyID reads the id of Describe and Sign.
func parseKeyID(s string) (keyID, error) {
	if len(s) > maxURI {
		return keyID{}, fmt.Errorf("the id is longer than %d bytes", maxURI)
	}
	attributes, err := splitAttributes(s, ";", pathLiteral)
	if err != nil {
		return keyID{}, fmt.Errorf("%w: write object=NAME, id=%%01%%02 or both", err)
	}
	return keyIDOf(attributes)
}

func keyIDOf(attributes []attribute) (keyID, error) {
	var k keyID
	for _, a := range attributes {
		switch a.name {
		case "object":
			label, err := a.text()
			if err != nil {
				return keyID{}, err
			}
			k.label = label
		case "id":
			if len(a.value) == 0 {
				return keyID{}, errors.New("id is empty: give it a value or leave it out")
			}
			k.id = string(a.value)
		case "type":
			if a.raw != "private" {
				return keyID{}, fmt.Errorf("type=%s does not sign: write type=private or leave it out", a.raw)
			}
		default:
			return keyID{}, fmt.Errorf("unknown attribute %q in a key's id, expected object, id or type", a.name)
		}
	}
	if k == (keyID{}) {
		return keyID{}, errors.New("names no key: write object=NAME, id=%01%02 or both")
	}
	return k, nil
}

// String writes the id that parseKeyID reads as this key. CKA_ID is written in
// %XX throughout, as RFC 7512 section 2.3 asks.
func (k keyID) String() string {
	var parts []string
	if k.id != "" {
		parts = append(parts, "id="+escapeAll(k.id))
	}
	if k.label != "" {
		parts = append(parts, "object="+escape(k.label, pathLiteral))
	}
	return strings.Join(parts, ";")
}

// SplitKeyURI splits the URI of a key into the URI of the backend that holds it
// and the key's id there. Both are then well formed.
func SplitKeyURI(uri string) (backendURI, keyID string, err error) {
	path, _, err := splitURI(uri)
	if err != nil {
		return "", "", err
	}
	var token []string
	var key []attribute
	for _, a := range path {
		switch a.name {
		case "object", "id", "type":
			key = append(key, a)
		default:
			token = append(token, a.name+"="+a.raw)
		}
	}
	k, err := keyIDOf(key)
	if err != nil {
		return "", "", fmt.Errorf("the URI's key: %w", err)
	}
	backendURI = Scheme + ":" + strings.Join(token, ";")
	if _, query, ok := strings.Cut(uri, "?"); ok {
		backendURI += "?" + query
	}
	if err := CheckURI(backendURI); err != nil {
		return "", "", err
	}
	return backendURI, k.String(), nil
}
