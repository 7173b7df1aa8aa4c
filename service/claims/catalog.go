// Package claims decides what stands in a token. A [Catalog] holds the
// profiles; from a policy.Grant and the caller's request it makes a [Draft],
// approved but for the time, and a Draft makes a [Set], the only thing that the
// signer signs.
//
// Bytes of the caller never reach a token as they are: his JSON is parsed
// strictly, each value passes its claim's rule, and the claims set is written
// anew, its names in byte order, so that the same input gives the same output.
package claims

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Profile is one kind of token: its key, its header and the rule of each
// claim. A claim without a rule is never in a token.
type Profile struct {
	Name        string
	Description string
	Key         string // the configured name of the signing key
	Typ         string // the header's typ; empty leaves it out
	OmitKID     bool
	Header      map[string]Rule // further header parameters, fixed or random
	Rules       map[string]Rule

	DefaultTTL  time.Duration // exp - now when the caller does not say
	MaxTTL      time.Duration // the most that exp - now may be
	Backdate    time.Duration // now - iat
	MaxLifetime time.Duration // the most that exp - iat may be; 0 is no limit
	LongLived   *LongLived    // when exp - iat may be more than that
	MaxAge      time.Duration // how long after iat a token without exp is accepted; 0 is not known

	Reuse           Reuse
	AnswerPublicKey bool     // whether the answer carries the raw public key
	AuditShows      []string // the claims whose values the audit record may show
	RevocationURL   string   // the vendor's page where a key is revoked; empty where none is known
}

// LongLived is the longer life of tokens whose claim passes a named check.
type LongLived struct {
	Claim       string
	Check       string
	MaxLifetime time.Duration // the most that exp - iat may be then
}

// Mode says when one token serves several requests.
type Mode string

// The modes of reuse.
const (
	Never        Mode = "never"         // a token for each request; the zero Mode is the same
	UntilRefresh Mode = "until_refresh" // the same token until a third of its life is left
	Shared       Mode = "shared"        // one token for all, not made anew before MinAge
)

// Reuse says when one token serves several requests. A Shared profile has no
// rule that takes a claim from the caller.
type Reuse struct {
	Mode   Mode
	MinAge time.Duration // for Shared: the least time between two tokens
	Grid   time.Duration // for Shared: now - Backdate is rounded down to a multiple of it since 1970; 0 is no rounding
}

// Expires says whether the profile's tokens have exp.
func (p *Profile) Expires() bool { return p.Rules["exp"].Computed == ExpireTime }

// Mode returns the profile's mode of reuse.
func (p *Profile) Mode() Mode {
	if p.Reuse.Mode == "" {
		return Never
	}
	return p.Reuse.Mode
}

// OneTime says whether each token is for one request.
func (p *Profile) OneTime() bool { return p.Mode() == Never }

// Lasting says whether tokens of the profile can be valid for more than a day,
// so that somebody has to remember when the newest of them ends.
func (p *Profile) Lasting() bool { return p.Expires() && p.MaxTTL > 24*time.Hour }

// Request is what the caller asks for.
type Request struct {
	Claims       string         // a JSON object; empty is the empty object
	TTL          *time.Duration // nil is the profile's default
	MinRemaining *time.Duration // the least life left; nil is a third of it
}

// Catalog holds the profiles. It does not change and is safe for concurrent
// use.
type Catalog struct {
	profiles   map[string]*compiled
	narrowings map[string]*Narrowing // by rule
	random     io.Reader
	seen       *otter.Cache[seen, []member]
	decoders   decoders
}

// seen is a text of claims that a profile has approved, and a grant where it
// narrows: what one grant lets through is nothing to another. Whoever asks for
// a token that can be reused asks for it again and again, in the same words.
type seen struct{ profile, rule, claims string }

// seenBytes is about what the approved texts may take.
const seenBytes = 4 << 20

// compiled is a profile with its rules in the order in which they are written.
type compiled struct {
	Profile
	header      []namedRule
	rules       []namedRule
	expires     bool
	fixed       map[string]value // what the rules fix, parsed
	fingerprint string           // the same for profiles whose tokens are the same
}

type namedRule struct {
	name   string
	prefix string // the name as a JSON string and a colon
	Rule
}

// New returns the catalog of the profiles, whose names must differ, and of what
// rules of the policy hold them to beside, at most one a rule. UUIDs and nonces
// are made from random; nil means crypto/rand.
func New(profiles []Profile, random io.Reader, narrowings ...Narrowing) *Catalog {
	if random == nil {
		random = rand.Reader
	}
	c := &Catalog{
		profiles:   make(map[string]*compiled, len(profiles)),
		narrowings: make(map[string]*Narrowing, len(narrowings)),
		random:     random,
		seen: otter.Must(&otter.Options[seen, []member]{
			MaximumWeight: seenBytes,
			Weigher: func(text seen, members []member) uint32 {
				return uint32(256 + 4*len(text.claims) + 128*len(members))
			},
			Executor: func(maintain func()) { maintain() }, // and in no goroutine of its own
		}),
	}
	for _, p := range profiles {
		c.profiles[p.Name] = compile(p)
	}
	for _, n := range narrowings {
		c.narrowings[n.Rule] = &n
	}
	return c
}

func compile(p Profile) *compiled {
	entry := &compiled{Profile: p, expires: p.Expires(), header: inOrder(p.Header), rules: inOrder(p.Rules), fixed: map[string]value{}}
	for _, rule := range entry.rules {
		if v, err := parseFixed(rule.Fixed); rule.Fixed != nil && err == nil {
			entry.fixed[rule.name] = v
		}
	}
	digest := sha256.New()
	_, _ = fmt.Fprintf(digest, "%q %q %q %t %v %v %v %v\n", p.Name, p.Key, p.Typ, p.OmitKID, p.Backdate, p.DefaultTTL, p.MaxAge, p.Reuse)
	for _, rules := range [][]namedRule{entry.header, entry.rules} {
		_, _ = fmt.Fprintln(digest, len(rules)) // a parameter of the header is no claim
		for _, rule := range rules {
			// As a string: a jsontext.Value of nil would be written as null.
			_, _ = fmt.Fprintf(digest, "%q %q %q\n", rule.name, string(rule.Fixed), rule.Computed)
		}
	}
	entry.fingerprint = string(digest.Sum(nil))
	return entry
}

func inOrder(rules map[string]Rule) []namedRule {
	ordered := make([]namedRule, 0, len(rules))
	for name, rule := range rules {
		ordered = append(ordered, namedRule{name, string(appendString(nil, name)) + ":", rule})
	}
	slices.SortFunc(ordered, func(a, b namedRule) int { return strings.Compare(a.name, b.name) })
	return ordered
}

// Profile returns a profile by its name.
func (c *Catalog) Profile(name string) (*Profile, bool) {
	p, ok := c.profiles[name]
	if !ok {
		return nil, false
	}
	return &p.Profile, true
}

// granted returns the profile of a grant, and what the grant holds it to beside:
// nil is nothing.
func (c *Catalog) granted(grant policy.Grant) (*compiled, *Narrowing, error) {
	p, ok := c.profiles[grant.Profile()]
	if !ok || grant.Profile() == "" {
		return nil, nil, fmt.Errorf("claims: no profile %q for the grant", grant.Profile())
	}
	n := c.narrowings[grant.Rule()]
	if n == nil && grant.Narrowed() { // never more than was meant
		return nil, nil, fmt.Errorf("claims: nothing is known of how the grant %q narrows", grant.Rule())
	}
	return p, n, nil
}

// Names returns the names of all profiles, sorted.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.profiles)) }

// Prepare approves a request under the grant's profile and what the grant holds
// it to beside, but for the time. It fails with a *[Refusal] that names every
// fault of the request.
func (c *Catalog) Prepare(grant policy.Grant, req Request) (Draft, error) {
	p, narrowed, err := c.granted(grant)
	if err != nil {
		return Draft{}, err
	}
	var refusal Refusal
	members, err := c.members(p, narrowed, req.Claims, &refusal)
	if err != nil {
		refusal.add("claims", err.Error())
		return Draft{}, &refusal
	}
	ttl := p.ttl(req.TTL, narrowed.maxTTL(p.MaxTTL), members, &refusal)
	atLeast := p.minRemaining(req.MinRemaining, ttl, &refusal)
	if len(refusal.Violations) > 0 {
		return Draft{}, &refusal
	}
	return Draft{&approved{grant, p, members, ttl, atLeast, c.random}}, nil
}

// members returns the caller's claims, parsed and held to the rules, or says
// what is wrong with them in the refusal or, where they cannot be read, in the
// error.
func (c *Catalog) members(p *compiled, narrowed *Narrowing, text string, refusal *Refusal) ([]member, error) {
	kept := text != "" && !p.OneTime()
	if kept {
		if members, ok := c.seen.GetIfPresent(seen{p.Name, narrowed.rule(), text}); ok {
			return members, nil
		}
	}
	members, err := c.decoders.parse(text)
	if err != nil {
		return nil, err
	}
	p.checkMembers(members, refusal)
	narrowed.check(p, members, refusal)
	if kept && len(refusal.Violations) == 0 {
		c.seen.Set(seen{p.Name, narrowed.rule(), strings.Clone(text)}, members)
	}
	return members, nil
}

// checkMembers holds the caller's claims to the rules.
func (p *compiled) checkMembers(members []member, refusal *Refusal) {
	for i := range members {
		m := &members[i]
		rule, ok := p.Rules[m.name]
		switch {
		case !ok:
			refusal.add(field(m.name), "is not a claim of this profile")
		case rule.Forbidden:
			refusal.add(field(m.name), "is forbidden by the profile")
		case rule.Caller == nil:
			refusal.add(field(m.name), "is set by the profile, not by the caller")
		default:
			if err := rule.Caller.accepts(m.value); err != nil {
				refusal.add(field(m.name), err.Error())
			}
		}
	}
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.Caller != nil && rule.Caller.Required && find(members, rule.name) == nil {
			refusal.add(field(rule.name), "is required")
		}
	}
}

// given returns the value that a claim will have, from the caller or fixed; nil
// when it will not be there.
func (p *compiled) given(name string, members []member) *value {
	if v, fixed := p.fixed[name]; fixed {
		return &v
	}
	return find(members, name)
}

func find(members []member, name string) *value {
	for i := range members {
		if members[i].name == name {
			return &members[i].value
		}
	}
	return nil
}

// appendUUID appends a random UUID (RFC 9562 section 5.4) as a JSON string.
func appendUUID(b []byte, u [16]byte) []byte {
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	b = hex.AppendEncode(append(b, '"'), u[:4])
	b = hex.AppendEncode(append(b, '-'), u[4:6])
	b = hex.AppendEncode(append(b, '-'), u[6:8])
	b = hex.AppendEncode(append(b, '-'), u[8:10])
	b = hex.AppendEncode(append(b, '-'), u[10:])
	return append(b, '"')
}
