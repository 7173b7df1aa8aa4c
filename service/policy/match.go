package policy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/service/authn"
)

// Match describes one caller; exactly one field is set.
type Match struct {
	Unix      *UnixMatch
	URI       string // exact, as the certificate has it
	URIPrefix string // ends in "/"; names the URIs below it, not itself
	DNS       string // exact, lower case
	Email     string // exact
	Token     *TokenMatch
	Loopback  bool // all who come over the loopback interface in plaintext
}

// UnixMatch matches peer credentials: every id that is set must be the same.
type UnixMatch struct {
	UID, GID *uint32
}

// TokenMatch matches the token of an issuer. All that is set must hold, and
// something beside the issuer must be set.
type TokenMatch struct {
	Issuer    string // its name in the configuration
	Sub       string // exact
	SubPrefix string // ends in "/" or ":"; names what is longer, not itself
	Claims    map[string]string
	Patterns  map[string]*regexp.Regexp // each must match the whole value by itself
}

// holds says whether a token of the issuer is meant.
func (m *TokenMatch) holds(token authn.Token) bool {
	if m.Sub != "" && token.Subject != m.Sub || m.SubPrefix != "" && !below(token.Subject, m.SubPrefix) {
		return false
	}
	for name, want := range m.Claims {
		if got, ok := token.Claims[name]; !ok || got != want {
			return false
		}
	}
	for name, pattern := range m.Patterns {
		if got, ok := token.Claims[name]; !ok || !pattern.MatchString(got) {
			return false
		}
	}
	return true
}

// below says whether a name begins with a prefix and goes on.
func below(name, prefix string) bool {
	return len(name) > len(prefix) && strings.HasPrefix(name, prefix)
}

// identity is one thing that a caller is known by, as a map's key.
type identity struct {
	kind     kind
	uid, gid uint32
	name     string
	issuer   string
	claim    string
}

// kind is what an identity is.
type kind uint8

const (
	byUID kind = iota
	byGID
	byUIDAndGID
	byURI
	byURIPrefix
	byDNS
	byEmail
	bySub
	bySubPrefix
	byClaim  // one claim of those that must be a certain string
	byIssuer // what nothing rarer is known of: patterns alone
	byLoopback
)

// index finds the rules that name a caller. Each match stands under one
// identity, of those that it asks for the one that tells most, so that few
// matches have to be tried however many there are.
type index struct {
	under   map[identity][]candidate
	claims  map[string][]string  // by issuer: the claims that matches stand under
	longest int                  // of the prefixes, in bytes
	kinds   [byLoopback + 1]bool // that matches stand under
}

// candidate is a match that an identity leads to.
type candidate struct {
	rule  int         // by its place in the file
	token *TokenMatch // what must hold beside; nil is nothing
}

func newIndex(rules []Rule) index {
	x := index{under: map[identity][]candidate{}, claims: map[string][]string{}}
	common := map[identity]int{} // how many matches ask for a claim to be a string
	for _, rule := range rules {
		for _, m := range rule.Callers {
			if m.Token != nil {
				for name, want := range m.Token.Claims {
					common[identity{kind: byClaim, issuer: m.Token.Issuer, claim: name, name: want}]++
				}
			}
		}
	}
	for i, rule := range rules {
		for _, m := range rule.Callers {
			id, ok := m.identity(common)
			if !ok {
				continue
			}
			one := candidate{rule: i, token: m.Token.clone()}
			x.under[id] = append(x.under[id], one)
			x.kinds[id.kind] = true
			switch id.kind {
			case byURIPrefix, bySubPrefix:
				x.longest = max(x.longest, len(id.name))
			case byClaim:
				if !slices.Contains(x.claims[id.issuer], id.claim) {
					x.claims[id.issuer] = append(x.claims[id.issuer], id.claim)
				}
			default:
			}
		}
	}
	return x
}

func (m *TokenMatch) clone() *TokenMatch {
	if m == nil {
		return nil
	}
	out := *m
	out.Claims, out.Patterns = maps.Clone(m.Claims), maps.Clone(m.Patterns)
	return &out
}

// identity is what a caller must be known by to match. A Match that does not
// set exactly one field matches nobody.
func (m Match) identity(common map[identity]int) (identity, bool) {
	switch {
	case m.Unix != nil && m == Match{Unix: m.Unix}:
		switch uid, gid := m.Unix.UID, m.Unix.GID; {
		case uid != nil && gid != nil:
			return identity{kind: byUIDAndGID, uid: *uid, gid: *gid}, true
		case uid != nil:
			return identity{kind: byUID, uid: *uid}, true
		case gid != nil:
			return identity{kind: byGID, gid: *gid}, true
		}
	case m.URI != "" && m == Match{URI: m.URI}:
		return identity{kind: byURI, name: m.URI}, true
	case strings.HasSuffix(m.URIPrefix, "/") && m == Match{URIPrefix: m.URIPrefix}:
		return identity{kind: byURIPrefix, name: m.URIPrefix}, true
	case m.DNS != "" && m == Match{DNS: m.DNS}:
		return identity{kind: byDNS, name: m.DNS}, true
	case m.Email != "" && m == Match{Email: m.Email}:
		return identity{kind: byEmail, name: m.Email}, true
	case m.Token != nil && m == Match{Token: m.Token}:
		return m.Token.identity(common)
	case m.Loopback && m == Match{Loopback: true}:
		return identity{kind: byLoopback}, true
	}
	return identity{}, false
}

func (m *TokenMatch) identity(common map[identity]int) (identity, bool) {
	switch {
	case m.Issuer == "":
	case m.Sub != "":
		return identity{kind: bySub, issuer: m.Issuer, name: m.Sub}, true
	case m.SubPrefix != "":
		return identity{kind: bySubPrefix, issuer: m.Issuer, name: m.SubPrefix}, strings.ContainsRune("/:", rune(m.SubPrefix[len(m.SubPrefix)-1]))
	case len(m.Claims) > 0:
		var rarest identity
		for _, name := range slices.Sorted(maps.Keys(m.Claims)) {
			id := identity{kind: byClaim, issuer: m.Issuer, claim: name, name: m.Claims[name]}
			if rarest.issuer == "" || common[id] < common[rarest] {
				rarest = id
			}
		}
		return rarest, true
	case len(m.Patterns) > 0:
		return identity{kind: byIssuer, issuer: m.Issuer}, true
	}
	return identity{}, false
}

// naming yields the rules that name a caller; one may come twice.
func (x *index) naming(caller authn.Caller) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		token, _ := caller.Token()
		for id := range x.identities(caller) {
			if !x.kinds[id.kind] {
				continue
			}
			for _, c := range x.under[id] {
				if c.token != nil && !c.token.holds(token) {
					continue
				}
				if !yield(c.rule) {
					return
				}
			}
		}
	}
}

// identities are all that a caller is known by and a match may stand under.
func (x *index) identities(caller authn.Caller) func(yield func(identity) bool) {
	return func(yield func(identity) bool) {
		if cred, ok := caller.Unix(); ok {
			_ = yield(identity{kind: byUID, uid: cred.UID}) &&
				yield(identity{kind: byGID, gid: cred.GID}) &&
				yield(identity{kind: byUIDAndGID, uid: cred.UID, gid: cred.GID})
			return
		}
		if token, ok := caller.Token(); ok {
			x.ofToken(token, yield)
			return
		}
		if caller.Loopback() {
			_ = yield(identity{kind: byLoopback})
			return
		}
		names, ok := caller.Names()
		if !ok {
			return
		}
		if names.URI != "" {
			_ = yield(identity{kind: byURI, name: names.URI}) && x.ofURI(names.URI, yield)
			return
		}
		for _, name := range names.DNS {
			if !yield(identity{kind: byDNS, name: name}) {
				return
			}
		}
		for _, name := range names.Emails {
			if !yield(identity{kind: byEmail, name: name}) {
				return
			}
		}
	}
}

// ofURI yields the beginnings of a URI at which a prefix can end.
func (x *index) ofURI(uri string, yield func(identity) bool) bool {
	if x.longest == 0 || !Canonical(uri) {
		return true
	}
	for i := strings.Index(uri, "://") + 3; i < min(len(uri)-1, x.longest); i++ {
		if uri[i] == '/' && !yield(identity{kind: byURIPrefix, name: uri[:i+1]}) {
			return false
		}
	}
	return true
}

// ofToken yields what a token is looked up by.
func (x *index) ofToken(token authn.Token, yield func(identity) bool) {
	sub := token.Subject
	if !yield(identity{kind: bySub, issuer: token.Issuer, name: sub}) || !yield(identity{kind: byIssuer, issuer: token.Issuer}) {
		return
	}
	for i := range min(len(sub)-1, x.longest) {
		if (sub[i] == '/' || sub[i] == ':') && !yield(identity{kind: bySubPrefix, issuer: token.Issuer, name: sub[:i+1]}) {
			return
		}
	}
	for _, claim := range x.claims[token.Issuer] {
		value, ok := token.Claims[claim]
		if ok && !yield(identity{kind: byClaim, issuer: token.Issuer, claim: claim, name: value}) {
			return
		}
	}
}

// Canonical says whether a URI has one spelling alone, so that its beginning
// says where it lies: a scheme and an authority in lower case without user, and
// a path without escapes, dot segments or empty segments, but that it may end
// in "/". There is neither query nor fragment. A URI that is not canonical
// matches no prefix.
func Canonical(uri string) bool {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || scheme == "" || strings.ContainsAny(uri, `%?#@\`) {
		return false
	}
	authority, path, _ := strings.Cut(rest, "/")
	if authority == "" || strings.ToLower(authority) != authority || strings.ToLower(scheme) != scheme {
		return false
	}
	for path != "" {
		var segment string
		segment, path, _ = strings.Cut(path, "/")
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
