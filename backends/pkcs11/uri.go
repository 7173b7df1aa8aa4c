package pkcs11

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The limits of a URI's values.
const (
	defaultSessions = 8
	mostSessions    = 1024
	maxURI          = 8 << 10
)

// config is a backend URI, read.
type config struct {
	token       tokenFilter
	modulePath  string
	pinSource   string // absolute path
	pinState    string // absolute path of a directory, or empty
	initArgs    string
	maxSessions int
	serialize   bool
	isolate     bool
}

// tokenFilter says which token is meant; an empty field matches any.
type tokenFilter struct {
	label, serial, manufacturer, model string
	slotID                             string // decimal, or empty
}

// The attributes that a backend URI may have, as an error lists them.
const (
	knownPath  = "token, serial, manufacturer, model, slot-id"
	knownQuery = "module-path, pin-source, max-sessions, serialize, init-args, pin-state, isolate"
)

// CheckURI says what is wrong with a backend URI, or nil. It does no I/O: the
// module and the PIN file are not looked at.
func CheckURI(uri string) error {
	_, err := parseURI(uri)
	return err
}

func parseURI(uri string) (config, error) {
	path, query, err := splitURI(uri)
	if err != nil {
		return config{}, err
	}
	c := config{maxSessions: defaultSessions}
	for _, a := range path {
		if err := c.setPath(a); err != nil {
			return config{}, err
		}
	}
	for _, a := range query {
		if err := c.setQuery(a); err != nil {
			return config{}, err
		}
	}
	switch {
	case c.token.label == "" && c.token.serial == "":
		return config{}, errors.New("the URI names no token: write pkcs11:token=LABEL or pkcs11:serial=NUMBER")
	case c.modulePath == "":
		return config{}, errors.New("module-path is missing: add ?module-path=/path/of/module.so")
	case c.pinSource == "":
		return config{}, errors.New("pin-source is missing: add &pin-source=file:/path/of/pin")
	}
	return c, nil
}

func (c *config) setPath(a attribute) error {
	text, err := a.text()
	if err != nil {
		return err
	}
	switch a.name {
	case "token":
		c.token.label = text
	case "serial":
		c.token.serial = text
	case "manufacturer":
		c.token.manufacturer = text
	case "model":
		c.token.model = text
	case "slot-id":
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("slot-id=%s is not a number", a.raw)
		}
		c.token.slotID = strconv.FormatUint(n, 10)
	case "object", "id", "type":
		return fmt.Errorf("%s names a key, not a token: move it to the key's id", a.name)
	default:
		return fmt.Errorf("unknown path attribute %q, expected one of %s", a.name, knownPath)
	}
	return nil
}

func (c *config) setQuery(a attribute) error {
	text, err := a.text()
	if err != nil {
		return err
	}
	switch a.name {
	case "module-path":
		c.modulePath, err = absolute(a.name, text)
	case "pin-source":
		c.pinSource, err = pinPath(text)
	case "pin-state":
		c.pinState, err = absolute(a.name, text)
	case "init-args":
		c.initArgs = text
	case "max-sessions":
		n, convErr := strconv.Atoi(text)
		if convErr != nil || n < 1 || n > mostSessions {
			return fmt.Errorf("max-sessions=%s is not a number from 1 to %d", a.raw, mostSessions)
		}
		c.maxSessions = n
	case "serialize":
		c.serialize, err = boolean(a)
	case "isolate":
		c.isolate, err = boolean(a)
	case "pin-value":
		// The value is not repeated: it is a secret.
		return errors.New("pin-value is refused, a PIN in a URI ends up in configs and process lists: " +
			"write the PIN into a file of mode 0600 and use pin-source=file:/path/of/pin")
	case "module-name":
		return errors.New("module-name is not supported: use module-path with the module's file")
	default:
		return fmt.Errorf("unknown query attribute %q, expected one of %s", a.name, knownQuery)
	}
	return err
}

func boolean(a attribute) (bool, error) {
	switch a.raw {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s=%s is neither true nor false", a.name, a.raw)
}

// absolute takes a clean absolute path.
func absolute(name, path string) (string, error) {
	if !filepath.IsAbs(path) {
		// Not repeated: someone may have put the PIN itself into pin-source.
		return "", fmt.Errorf("%s is not an absolute path: start it with /", name)
	}
	return filepath.Clean(path), nil
}

// pinPath takes the two forms of pin-source: a file URI and an absolute path.
func pinPath(source string) (string, error) {
	if path, ok := strings.CutPrefix(source, "file:"); ok {
		path, _ = strings.CutPrefix(path, "//")
		return absolute("pin-source", path)
	}
	if !filepath.IsAbs(source) {
		return "", errors.New("pin-source is neither a file: URI nor an absolute path: write pin-source=file:/path/of/pin")
	}
	return absolute("pin-source", source)
}

// String writes the URI that parseURI reads as this config.
func (c config) String() string {
	path := join(";", pathLiteral,
		"token", c.token.label, "serial", c.token.serial, "manufacturer", c.token.manufacturer,
		"model", c.token.model, "slot-id", c.token.slotID)
	query := join("&", queryLiteral,
		"module-path", c.modulePath, "pin-source", "file:"+c.pinSource, "pin-state", c.pinState,
		"init-args", c.initArgs, "max-sessions", strconv.Itoa(c.maxSessions),
		"serialize", ifTrue(c.serialize), "isolate", ifTrue(c.isolate))
	return Scheme + ":" + path + "?" + query
}

func ifTrue(v bool) string {
	if v {
		return "true"
	}
	return ""
}

// join writes the pairs of names and values that have a value.
func join(separator, literal string, pairs ...string) string {
	var attributes []string
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			attributes = append(attributes, pair[0]+"="+escape(pair[1], literal))
		}
	}
	return strings.Join(attributes, separator)
}
