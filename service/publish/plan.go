package publish

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Plan says what a configuration publishes. The zero Plan publishes nothing.
type Plan struct {
	Issuers []Issuer
	Keys    []string // the names of configured keys that have a set of their own each
}

// Issuer is the iss of tokens whose verifiers look for the keys below that URL.
type Issuer struct {
	URL    string   // exactly as in iss; PathOf accepts it
	Keys   []string // the names of the configured keys in its set, sorted
	Claims []string // the registered claims that its tokens can have, sorted
}

// Empty says whether nothing is published.
func (p Plan) Empty() bool { return len(p.Issuers) == 0 && len(p.Keys) == 0 }

// KeyNames returns the names of the configured keys that are published, sorted.
func (p Plan) KeyNames() []string {
	all := slices.Clone(p.Keys)
	for _, issuer := range p.Issuers {
		all = append(all, issuer.Keys...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The paths of the documents, below the issuer's own where there is one.
const (
	setPath       = "/.well-known/jwks.json"
	discoveryPath = "/.well-known/openid-configuration"
	// oauthPath stands ahead of the issuer's path (RFC 8414 section 3.1), and so
	// does discoveryPath for those who read its section 5 alone.
	oauthPath = "/.well-known/oauth-authorization-server"
)

// PathOf returns the path of an issuer's URL, without a slash at its end, or why
// nothing can be published below such a URL.
func PathOf(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return "", fmt.Errorf("%q is not an https URL, as in https://tokens.example.org", issuer)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(issuer, "#"):
		return "", errors.New("an issuer has no user, query or fragment (OpenID Connect Discovery 1.0 section 3)")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if path == "" {
		return "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool { return !plain(r) }) {
			return "", fmt.Errorf("the path %s has a part that is not letters, digits, dots, underscores, hyphens and tildes alone, which servers and proxies read differently", path)
		}
	}
	return path, nil
}

// plain says whether a character is one that no reader of URLs writes
// differently: RFC 3986 section 2.3.
func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~", r)
}

// Looks says whether a path is one at which some plan publishes something.
func Looks(path string) bool {
	return strings.HasSuffix(path, "/jwks.json") || strings.HasSuffix(path, discoveryPath) ||
		strings.HasPrefix(path+"/", oauthPath+"/") || strings.HasPrefix(path, discoveryPath+"/")
}

// place is one path with what is published there.
type place struct {
	path     string
	keys     []string  // the names of the configured keys
	metadata *metadata // nil for a set
	of       string    // whose it is, for messages
}

// places returns all places, and what of them would stand at one path, or one
// below the other, where no file could.
//
// Each issuer has its own set and nobody else's keys in it: a verifier of one
// issuer must not take a token that the key of another has signed. The set of
// all keys is at the root, unless an issuer is.
func (p Plan) places() ([]place, error) {
	var l layout
	root := false
	for _, issuer := range p.Issuers {
		path, err := PathOf(issuer.URL)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", issuer.URL, err)
		}
		root = root || path == ""
		l.add(place{path + setPath, issuer.Keys, nil, "the issuer " + issuer.URL})
		l.add(place{path + discoveryPath, issuer.Keys, issuer.metadata(), "the issuer " + issuer.URL})
	}
	for _, name := range p.Keys {
		l.add(place{"/keys/" + name + "/jwks.json", []string{name}, nil, "the key " + name})
	}
	if !root && !p.Empty() {
		l.add(place{setPath, p.KeyNames(), nil, "the set of all keys"})
	}
	for _, issuer := range p.Issuers {
		path, _ := PathOf(issuer.URL) // which it has
		for _, ahead := range []string{oauthPath, discoveryPath} {
			// Another address for the same, so it gives way: as files, that of /a is
			// where the directory of /a/b would be.
			if also := (place{ahead + path, issuer.Keys, issuer.metadata(), "the issuer " + issuer.URL}); l.clash(also) == nil {
				l.add(also)
			}
		}
	}
	return l.places, l.err
}

// Check says why the plan cannot be published.
func (p Plan) Check() error {
	_, err := p.places()
	return err
}

// layout is places that are in nobody's way.
type layout struct {
	places      []place
	files, dirs map[string]string // path -> whose
	err         error             // the first clash
}

// add takes in a place.
func (l *layout) add(p place) {
	if l.err == nil {
		l.err = l.clash(p)
	}
	if l.files == nil {
		l.files, l.dirs = map[string]string{}, map[string]string{}
	}
	l.places = append(l.places, p)
	l.files[p.path] = p.of
	for dir := range above(p.path) {
		l.dirs[dir] = p.of
	}
}

// clash says with what a place would stand at one path, or above or below it.
func (l *layout) clash(p place) error {
	of, taken := l.files[p.path]
	if !taken {
		of, taken = l.dirs[p.path]
	}
	for dir := range above(p.path) {
		if file, ok := l.files[dir]; ok {
			of, taken = file, true
		}
	}
	if !taken {
		return nil
	}
	return fmt.Errorf("%s and %s would both be at %s; one server publishes one thing at a path", of, p.of, p.path)
}

// above ranges over the directories that a path is in, without the root.
func above(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := len(path) - 1; i > 0; i-- {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}
