package jotsmith

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Request is what a token is asked for with.
type Request struct {
	// Profile is the name of a profile of the server's.
	Profile string
	// Claims are the claims that the profile takes from its callers: a JSON object
	// as a string, a []byte or a json.RawMessage, or what encoding/json makes one of.
	// nil means none. Numbers stay as they are written.
	Claims any
	// TTL is how long the token is to be valid; 0 means the profile's default.
	TTL time.Duration
	// MinRemaining is the least time that the token must still be valid when it is
	// handed out; 0 means the server's, a third of its life.
	MinRemaining time.Duration
}

// An Option adds to a Request.
type Option func(*Request)

// Claims sets Request.Claims.
func Claims(claims any) Option { return func(r *Request) { r.Claims = claims } }

// TTL sets Request.TTL.
func TTL(ttl time.Duration) Option { return func(r *Request) { r.TTL = ttl } }

// MinRemaining sets Request.MinRemaining.
func MinRemaining(d time.Duration) Option { return func(r *Request) { r.MinRemaining = d } }

// requestOf is a Request of a profile with options.
func requestOf(profile string, options []Option) Request {
	r := Request{Profile: profile}
	for _, option := range options {
		option(&r)
	}
	return r
}

// message is the request on the wire.
func (r Request) message() (*jotsmithv1.MintTokenRequest, error) {
	req := &jotsmithv1.MintTokenRequest{Profile: r.Profile}
	if !utf8.ValidString(r.Profile) {
		return nil, refused("profile", "is not valid UTF-8")
	}
	switch claims := r.Claims.(type) {
	case nil:
	case string:
		req.Claims = claims
	case []byte:
		req.Claims = string(claims)
	case json.RawMessage:
		req.Claims = string(claims)
	default:
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(claims); err != nil {
			return nil, refused("claims", "cannot be written as JSON: "+err.Error())
		}
		req.Claims = strings.TrimSuffix(text.String(), "\n")
	}
	if !utf8.ValidString(req.Claims) {
		return nil, refused("claims", "is not valid UTF-8")
	}
	if r.TTL != 0 {
		req.Ttl = durationpb.New(r.TTL)
	}
	if r.MinRemaining != 0 {
		req.MinRemaining = durationpb.New(r.MinRemaining)
	}
	return req, nil
}

// place is where a token is kept: requests that differ in nothing else can have the
// same token.
type place struct {
	profile, claims string
	ttl             time.Duration
}

func (r Request) place(req *jotsmithv1.MintTokenRequest) place {
	return place{r.Profile, canonical(req.GetClaims()), r.TTL}
}

// canonical returns the same text for JSON objects that differ in white space and
// the order of names alone. Whatever a server may refuse, as it does a name that
// stands twice, is only itself: a token kept for one request must not answer another
// that would have got an error.
func canonical(text string) string {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var out bytes.Buffer
	if text == "" {
		return "{}"
	}
	if !writeCanonical(dec, &out, 0) {
		return "?" + text // which no canonical form begins with
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "?" + text
	}
	return out.String()
}

// deepest is how deep claims can be; the server refuses what is deeper.
const deepest = 16

// writeCanonical writes the next value, or says that it has no canonical form.
func writeCanonical(dec *json.Decoder, out *bytes.Buffer, depth int) bool {
	next, err := dec.Token()
	if err != nil || depth > deepest {
		return false
	}
	switch v := next.(type) {
	case json.Delim:
		if v == '{' {
			return writeObject(dec, out, depth)
		}
		return writeArray(dec, out, depth)
	case string:
		if strings.ContainsRune(v, utf8.RuneError) { // which a lone surrogate would be read as, too
			return false
		}
		return writeString(out, v)
	case json.Number:
		out.WriteString(v.String())
	default:
		text, err := json.Marshal(v)
		out.Write(text)
		return err == nil
	}
	return true
}

func writeString(out *bytes.Buffer, s string) bool {
	text, err := json.Marshal(s)
	out.Write(text)
	return err == nil
}

func writeArray(dec *json.Decoder, out *bytes.Buffer, depth int) bool {
	out.WriteByte('[')
	for dec.More() {
		if !writeCanonical(dec, out, depth+1) {
			return false
		}
		out.WriteByte(',')
	}
	out.WriteByte(']')
	_, err := dec.Token()
	return err == nil
}

func writeObject(dec *json.Decoder, out *bytes.Buffer, depth int) bool {
	members := map[string]string{}
	var names []string
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		var value bytes.Buffer
		if err != nil || !ok || strings.ContainsRune(name, utf8.RuneError) || !writeCanonical(dec, &value, depth+1) {
			return false
		}
		if _, twice := members[name]; twice {
			return false
		}
		members[name] = value.String()
		names = append(names, name)
	}
	slices.Sort(names)
	out.WriteByte('{')
	for _, name := range names {
		if !writeString(out, name) {
			return false
		}
		out.WriteByte(':')
		out.WriteString(members[name])
		out.WriteByte(',')
	}
	out.WriteByte('}')
	_, err := dec.Token()
	return err == nil
}
