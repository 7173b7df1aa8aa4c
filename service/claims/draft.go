package claims

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Draft is an approved request, made by Catalog.Prepare alone: a token in all
// but its times and its random values. The zero Draft is approved by nobody,
// and its methods but String must not be called.
type Draft struct{ *approved }

// approved is what a Draft has, which nobody changes.
type approved struct {
	grant   policy.Grant
	profile *compiled
	members []member
	ttl     time.Duration // 0 where the token does not expire
	atLeast time.Duration // the least life left when it is handed out
	random  io.Reader
}

// Grant returns the permission that the request was approved under.
func (d Draft) Grant() policy.Grant { return d.grant }

// Key returns the configured name of the key that is to sign.
func (d Draft) Key() string { return d.profile.Key }

// Profile returns the profile, which must not be changed.
func (d Draft) Profile() *Profile { return &d.profile.Profile }

// MinRemaining returns the least life that a token handed out for the request
// must have left: a third of its life, or more where the caller says so.
func (d Draft) MinRemaining() time.Duration { return d.atLeast }

// Life returns how long a new token would be valid; 0 where no end is known.
func (d Draft) Life() time.Duration { return d.profile.life(d.ttl) }

// Identity returns a text that is the same for two drafts when their tokens,
// made at one time, differ in random values alone. It is for a map's key and no
// log.
func (d Draft) Identity() string {
	if len(d.members) == 0 && d.ttl == d.profile.DefaultTTL {
		return d.profile.fingerprint
	}
	b := make([]byte, 0, 128)
	b = append(b, d.profile.fingerprint...)
	b = binary.AppendVarint(b, int64(d.ttl))
	for i := range d.profile.rules {
		rule := &d.profile.rules[i]
		if rule.Caller == nil {
			continue
		}
		if given := find(d.members, rule.name); given != nil {
			b = given.appendJSON(append(append(b, '\n'), rule.prefix...))
		}
	}
	return string(b)
}

// Given yields the claims that the caller gave, by name, with their values as compact
// JSON. They are for the audit record and no log.
func (d Draft) Given() iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		for i := range d.profile.rules { // which are by name
			name := d.profile.rules[i].name
			if value := find(d.members, name); value != nil && !yield(name, value.appendJSON(nil)) {
				return
			}
		}
	}
}

// At makes the header and the claims set of a token issued at now. It fails
// only where there is no randomness.
func (d Draft) At(now time.Time) (Set, error) {
	set := Set{&made{draft: d, times: d.profile.times(now, d.ttl)}}
	var err error
	for i := range d.profile.header {
		set.header = append(append(set.header, ','), d.profile.header[i].prefix...)
		if set.header, err = d.appendValue(set.header, &d.profile.header[i], set.times); err != nil {
			return Set{}, err
		}
	}
	payload := append(make([]byte, 0, 256), '{')
	for i := range d.profile.rules {
		rule := &d.profile.rules[i]
		if !d.has(rule) {
			continue
		}
		if len(payload) > 1 {
			payload = append(payload, ',')
		}
		payload = append(payload, rule.prefix...)
		start := len(payload)
		if payload, err = d.appendValue(payload, rule, set.times); err != nil {
			return Set{}, err
		}
		if rule.name == "jti" { // RFC 7519 section 4.1.7: a string, which these rules make sure of
			set.jti = unquoted(payload[start:])
		}
	}
	payload = append(payload, '}')
	set.payload = payload
	return set, nil
}

// unquoted returns what a JSON string says.
func unquoted(value jsontext.Value) string {
	if value.Kind() == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(text)
}

// has says whether the token has the claim of a rule.
func (d Draft) has(rule *namedRule) bool {
	return !rule.Forbidden && (rule.Caller == nil || find(d.members, rule.name) != nil)
}

// appendValue appends the value that a rule gives, as compact JSON.
func (d Draft) appendValue(b []byte, rule *namedRule, t times) ([]byte, error) {
	switch {
	case rule.Fixed != nil:
		return append(b, rule.Fixed...), nil
	case rule.Caller != nil:
		return find(d.members, rule.name).appendJSON(b), nil
	case rule.Computed == ExpireTime:
		return strconv.AppendInt(b, t.expire.Unix(), 10), nil
	case !rule.Random():
		return strconv.AppendInt(b, t.issue.Unix(), 10), nil
	}
	var random [16]byte
	if _, err := io.ReadFull(d.random, random[:]); err != nil {
		return nil, fmt.Errorf("claims: no randomness for %s: %w", rule.name, err)
	}
	if rule.Computed == UUID {
		return appendUUID(b, random), nil
	}
	return append(hex.AppendEncode(append(b, '"'), random[:]), '"'), nil
}

// String redacts: claims are not for logs.
func (Draft) String() string { return "[claims draft]" }

// GoString redacts.
func (d Draft) GoString() string { return d.String() }

// LogValue redacts.
func (d Draft) LogValue() slog.Value { return slog.StringValue(d.String()) }
