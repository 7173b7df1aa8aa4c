package claims

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Decision says where the value of one claim, or header parameter, comes from.
type Decision struct {
	Name    string // "header." goes ahead of a header parameter's name
	Rule    string // in words
	Doc     string // the verifier's document that demands it, where one is known
	Present bool   // whether the token has it
}

// Explanation is what a request would get. It holds values of claims, so it is
// for the caller and for no log.
type Explanation struct {
	Refusal   error // nil where the request is approved; else a *Refusal
	Set       Set   // as it would be signed; the zero Set where the request is refused
	Decisions []Decision
	Limits    []string
	TTL       time.Duration // 0 where the token does not expire or the request is refused
}

// Explain says what Prepare and At would make of a request.
func (c *Catalog) Explain(grant policy.Grant, req Request, now time.Time) (Explanation, error) {
	p, narrowed, err := c.granted(grant)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Limits: narrowed.limits(p)}
	draft, err := c.Prepare(grant, req)
	if err != nil {
		out.Refusal = err
		out.Decisions = narrowed.explain(p.decisions(func(*namedRule) bool { return false }))
		for i := range out.Decisions {
			out.Decisions[i].Present = false // the header's too
		}
		return out, nil
	}
	if out.Set, err = draft.At(now); err != nil {
		return Explanation{}, err
	}
	out.TTL = draft.ttl
	out.Decisions = narrowed.explain(p.decisions(draft.has))
	return out, nil
}

// Decisions returns the profile's rules in words: the header's first, then the
// claims', by name. Present says of a claim that every token has it.
func (p *Profile) Decisions() []Decision {
	return compile(*p).decisions(func(r *namedRule) bool {
		return !r.Forbidden && (r.Caller == nil || r.Caller.Required)
	})
}

func (p *compiled) decisions(has func(*namedRule) bool) []Decision {
	decisions := []Decision{
		{Name: "header.alg", Rule: "always ES256 (RFC 7518 section 3.4)", Present: true},
		{Name: "header.kid", Rule: "the kid of the profile's key", Present: true},
		{Name: "header.typ", Rule: fmt.Sprintf("fixed to %q", p.Typ), Present: true},
	}
	if p.OmitKID {
		decisions[1].Rule, decisions[1].Present = "left out", false
	}
	if p.Typ == "" {
		decisions[2].Rule, decisions[2].Present = "left out", false
	}
	for i := range p.header {
		rule := &p.header[i]
		decisions = append(decisions, Decision{"header." + rule.name, p.words(rule.Rule), rule.Doc, true})
	}
	for i := range p.rules {
		rule := &p.rules[i]
		decisions = append(decisions, Decision{rule.name, p.words(rule.Rule), rule.Doc, has(rule)})
	}
	return decisions
}

// words says what a rule does.
func (p *compiled) words(rule Rule) string {
	switch {
	case rule.Fixed != nil:
		return "fixed to " + string(rule.Fixed)
	case rule.Forbidden:
		return "forbidden"
	case rule.Caller != nil:
		return "from the caller: " + rule.Caller.Words()
	}
	switch rule.Computed {
	case ExpireTime:
		return "the time of minting plus the ttl"
	case UUID:
		return "a random UUID"
	case Nonce:
		return "16 random bytes in hexadecimal"
	case IssueTime, NotBefore:
	}
	words := "the time of minting"
	if p.Backdate > 0 {
		words += " less " + Span(p.Backdate)
	}
	if p.Reuse.Grid > 0 {
		words += ", rounded down to a multiple of " + Span(p.Reuse.Grid)
	}
	return words
}

// Words says for which claims a token may live longer.
func (l *LongLived) Words() string {
	return fmt.Sprintf("where every item of %s is %s", l.Claim, checkWords[l.Check])
}

// checkWords are the named checks in words.
var checkWords = map[string]string{
	CheckASCLongLived:       "of a resource that App Store Connect gives such tokens for",
	CheckASCScope:           "as a scope of App Store Connect, GET <path>[?<query>]",
	CheckASCIndividualScope: "as a scope of App Store Connect that an individual key has",
	CheckOrigin:             "as an origin, https://host[:port] or http://host[:port]",
	CheckHTTPSOrigin:        "as an origin, https://host[:port]",
	CheckHTTPSURL:           "as an https URL",
	CheckContact:            "as a mailto: or https: URI",
	CheckBase64JSON:         "as a JSON object in standard base64",
}

// Span writes a duration for people, as in "90s", "18m", "4319h59m" or
// "180 days".
func Span(d time.Duration) string {
	if days := d / (24 * time.Hour); days >= 2 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", days)
	}
	text := d.String()
	if text, cut := strings.CutSuffix(text, "m0s"); cut {
		text += "m"
		if hours, whole := strings.CutSuffix(text, "h0m"); whole {
			return hours + "h"
		}
		return text
	}
	return text
}

// Words says which values the rule accepts.
func (r *CallerRule) Words() string {
	parts := []string{typeNames[r.Type]}
	if r.Required {
		parts = append(parts, "required")
	} else {
		parts = append(parts, "optional")
	}
	return strings.Join(append(parts, r.conditions()...), ", ")
}

// conditions are those of the rule and of the one that it narrows.
func (r *CallerRule) conditions() []string {
	var parts []string
	if r.Pattern != nil {
		whole := strings.TrimSuffix(strings.TrimPrefix(r.Pattern.String(), `\A(?:`), `)\z`)
		parts = append(parts, "matching "+whole)
	}
	if len(r.OneOf) > 0 {
		parts = append(parts, "one of "+strings.Join(r.OneOf, " | "))
	}
	if r.Min != nil {
		parts = append(parts, fmt.Sprintf("at least %d", *r.Min))
	}
	if r.Max != nil {
		parts = append(parts, fmt.Sprintf("at most %d", *r.Max))
	}
	if words, ok := checkWords[r.Check]; ok {
		parts = append(parts, words)
	}
	if r.Type != "integer" && r.Type != "boolean" {
		parts = append(parts, fmt.Sprintf("up to %d bytes", r.MaxLength))
	}
	if r.Type == "string_list" || r.Type == "string_or_list" {
		parts = append(parts, fmt.Sprintf("up to %d items", r.MaxItems))
	}
	if r.Narrows != nil {
		for _, condition := range r.Narrows.conditions() {
			if !slices.Contains(parts, condition) {
				parts = append(parts, condition)
			}
		}
	}
	return parts
}

// Limits returns the profile's times and its reuse in words, one fact each.
func (p *Profile) Limits() []string {
	var limits []string
	if p.Expires() {
		ordinary := p.MaxTTL
		if p.MaxLifetime > 0 {
			ordinary = min(ordinary, p.MaxLifetime-p.Backdate)
		}
		valid := fmt.Sprintf("a token is valid for %s", Span(p.DefaultTTL))
		if p.Reuse.Mode != Shared { // where nobody says otherwise
			valid += fmt.Sprintf(" unless the caller says otherwise, and for %s at most", Span(ordinary))
		}
		limits = append(limits, valid)
		if p.MaxLifetime > 0 {
			limits = append(limits, fmt.Sprintf("exp - iat is %s at most", Span(p.MaxLifetime)))
		}
		if p.LongLived != nil && p.MaxTTL > ordinary && p.Reuse.Mode != Shared {
			limits = append(limits, fmt.Sprintf("up to %s %s", Span(p.MaxTTL), p.LongLived.Words()))
		}
	} else {
		limits = append(limits, "a token has no exp")
		if p.MaxAge > 0 {
			limits = append(limits, fmt.Sprintf("a token is accepted for %s from iat on", Span(p.MaxAge)))
		}
	}
	switch p.Reuse.Mode {
	case UntilRefresh:
		limits = append(limits, "the same token is handed out until a third of its life is left")
	case Shared:
		limits = append(limits, "one token is shared by all callers")
		if p.Reuse.MinAge > 0 {
			limits = append(limits, fmt.Sprintf("it is not made anew within %s", Span(p.Reuse.MinAge)))
		}
		if p.Reuse.Grid > 0 {
			limits = append(limits, fmt.Sprintf("all replicas change it together, every %s", Span(p.Reuse.Grid)))
		}
	default:
		limits = append(limits, "each token is for one use")
	}
	return limits
}
