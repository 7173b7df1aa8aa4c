// Package claims decides what stands in a token. A [Catalog] holds the
// profiles; from a policy.Grant and the caller's request it makes a [Set],
// the only thing that the signer signs.
//
// Bytes of the caller never reach a token as they are: his JSON is parsed
// strictly, each value passes its claim's rule, and the claims set is written
// anew, its names in byte order, so that the same input gives the same output.
package claims

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Profile is one kind of token: its key, its header's typ and the rule of each
// claim. A claim without a rule is never in a token.
type Profile struct {
	Name  string
	Key   string // the configured name of the signing key
	Typ   string // the header's typ; empty leaves it out
	Rules map[string]Rule

	DefaultTTL  time.Duration // exp - now when the caller does not say
	MaxTTL      time.Duration // the most that a caller may ask for
	Backdate    time.Duration // now - iat
	MaxLifetime time.Duration // the most that exp - iat may be; 0 is no limit
	LongLived   *LongLived    // when exp - iat may be more than that
}

// LongLived is the longer life of tokens whose claim passes a named check.
type LongLived struct {
	Claim       string
	Check       string
	MaxLifetime time.Duration // the most that exp - iat may be then
}

// Request is what the caller asks for.
type Request struct {
	Claims string         // a JSON object; empty is the empty object
	TTL    *time.Duration // nil is the profile's default
}

// Catalog holds the profiles. It does not change and is safe for concurrent
// use.
type Catalog struct {
	profiles map[string]*compiled
	random   io.Reader
}

// compiled is a profile with its rules in the order in which they are written.
type compiled struct {
	Profile
	rules []namedRule
}

type namedRule struct {
	name   string
	prefix string // the name as a JSON string and a colon
	Rule
}

// New returns the catalog of the profiles, whose names must differ. UUIDs are
// made from random; nil means crypto/rand.
func New(profiles []Profile, random io.Reader) *Catalog {
	if random == nil {
		random = rand.Reader
	}
	c := &Catalog{make(map[string]*compiled, len(profiles)), random}
	for _, p := range profiles {
		entry := &compiled{Profile: p}
		for name, rule := range p.Rules {
			entry.rules = append(entry.rules, namedRule{name, string(appendString(nil, name)) + ":", rule})
		}
		slices.SortFunc(entry.rules, func(a, b namedRule) int { return strings.Compare(a.name, b.name) })
		c.profiles[p.Name] = entry
	}
	return c
}

// Key returns the configured name of the key that signs the profile's tokens.
func (c *Catalog) Key(profile string) (string, bool) {
	p, ok := c.profiles[profile]
	if !ok {
		return "", false
	}
	return p.Key, true
}

// Build makes the claims set of one token of the grant's profile, issued at
// now. It fails with a *[Refusal] that names every fault of the request.
func (c *Catalog) Build(grant policy.Grant, req Request, now time.Time) (Set, error) {
	p, ok := c.profiles[grant.Profile()]
	if !ok || grant.Profile() == "" {
		return Set{}, fmt.Errorf("claims: no profile %q for the grant", grant.Profile())
	}
	var refusal Refusal
	members, err := parse(req.Claims)
	if err != nil {
		refusal.add("claims", err.Error())
		return Set{}, &refusal
	}
	p.checkNames(members, &refusal)

	ttl := p.ttl(req.TTL, members, &refusal)
	now = now.Truncate(time.Second)
	set := Set{
		grant:  grant,
		key:    p.Key,
		typ:    p.Typ,
		issue:  now.Add(-p.Backdate),
		expire: now.Add(ttl),
	}
	set.refresh = set.expire.Add(-ttl / 3)
	if set.payload, err = p.write(set, members, c.random, &refusal); err != nil {
		return Set{}, err
	}
	if len(refusal.Violations) > 0 {
		return Set{}, &refusal
	}
	return set, nil
}

// checkNames refuses every name that the caller may not set.
func (p *compiled) checkNames(members []member, refusal *Refusal) {
	for _, m := range members {
		rule, ok := p.Rules[m.name]
		switch {
		case !ok:
			refusal.add(field(m.name), "is not a claim of this profile")
		case rule.Caller == nil:
			refusal.add(field(m.name), "is set by the profile, not by the caller")
		}
	}
}

// write writes the claims set as compact JSON, or adds to the refusal why it
// cannot.
func (p *compiled) write(set Set, members []member, random io.Reader, refusal *Refusal) ([]byte, error) {
	payload := make([]byte, 0, 256)
	payload = append(payload, '{')
	for i := range p.rules {
		rule := &p.rules[i]
		start := len(payload)
		if start > 1 {
			payload = append(payload, ',')
		}
		payload = append(payload, rule.prefix...)
		switch {
		case rule.Fixed != nil:
			payload = append(payload, rule.Fixed...)
		case rule.Caller != nil:
			given := find(members, rule.name)
			if given == nil {
				payload = payload[:start]
				if rule.Caller.Required {
					refusal.add(field(rule.name), "is required")
				}
				continue
			}
			if err := rule.Caller.accepts(*given); err != nil {
				refusal.add(field(rule.name), err.Error())
				continue
			}
			payload = given.appendJSON(payload)
		case rule.Computed == UUID:
			var err error
			if payload, err = appendUUID(payload, random); err != nil {
				return nil, err
			}
		case rule.Computed == ExpireTime:
			payload = strconv.AppendInt(payload, set.expire.Unix(), 10)
		default:
			payload = strconv.AppendInt(payload, set.issue.Unix(), 10)
		}
	}
	return append(payload, '}'), nil
}

// ttl returns the time to live, or adds to the refusal why the one asked for
// cannot be.
func (p *compiled) ttl(asked *time.Duration, members []member, refusal *Refusal) time.Duration {
	if asked == nil {
		return p.DefaultTTL
	}
	ttl := *asked
	switch {
	case ttl <= 0:
		refusal.add("ttl", "is not positive")
	case ttl%time.Second != 0:
		refusal.add("ttl", "is not a whole number of seconds")
	case ttl > p.MaxTTL:
		refusal.add("ttl", fmt.Sprintf("is over this profile's limit of %s", seconds(p.MaxTTL)))
	case p.MaxLifetime > 0 && ttl > p.MaxLifetime-p.Backdate:
		p.checkLongLived(ttl, members, refusal)
	}
	return ttl
}

// checkLongLived adds to the refusal why a token of more than the ordinary
// lifetime cannot be.
func (p *compiled) checkLongLived(ttl time.Duration, members []member, refusal *Refusal) {
	ordinary := seconds(p.MaxLifetime - p.Backdate)
	if p.LongLived == nil {
		refusal.add("ttl", fmt.Sprintf("is over the limit of %s", ordinary))
		return
	}
	switch items := p.given(p.LongLived.Claim, members).items(); {
	case ttl > p.LongLived.MaxLifetime-p.Backdate:
		refusal.add("ttl", fmt.Sprintf("is over the limit of %s", seconds(p.LongLived.MaxLifetime-p.Backdate)))
	case len(items) == 0:
		refusal.add("ttl", fmt.Sprintf("is over %s, which needs the claim %s", ordinary, p.LongLived.Claim))
	default:
		if err := runCheck(p.LongLived.Check, items); err != nil {
			refusal.add(field(p.LongLived.Claim), fmt.Sprintf("%v; the limit is then %s", err, ordinary))
		}
	}
}

// given returns the value that a claim will have, from the caller or fixed; nil
// when it will not be there.
func (p *compiled) given(name string, members []member) *value {
	if fixed := p.Rules[name].Fixed; fixed != nil {
		v, err := parseFixed(fixed)
		if err != nil {
			return nil
		}
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

// seconds writes a duration of whole seconds as the API takes it, as in "1080s".
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// appendUUID appends a random UUID (RFC 9562 section 5.4) as a JSON string.
func appendUUID(b []byte, random io.Reader) ([]byte, error) {
	var u [16]byte
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return nil, fmt.Errorf("claims: no randomness for a uuid: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	b = hex.AppendEncode(append(b, '"'), u[:4])
	b = hex.AppendEncode(append(b, '-'), u[4:6])
	b = hex.AppendEncode(append(b, '-'), u[6:8])
	b = hex.AppendEncode(append(b, '-'), u[8:10])
	b = hex.AppendEncode(append(b, '-'), u[10:])
	return append(b, '"'), nil
}
