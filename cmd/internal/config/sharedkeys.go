package config

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
)

// signature is what a verifier tells tokens apart by.
type signature struct {
	profile  string
	preset   string
	typ      string // as mediaType returns it
	iss, aud []string
}

// sharedKeys refuses profiles that share a key where a verifier could take the
// token of one for the other's (RFC 8725 section 3.12), and a vendor's key
// that serves another family: vendors give a key for one service.
func (c *checker) sharedKeys() {
	users := map[string][]signature{} // by the name of the key
	for _, p := range c.config.ClaimProfiles {
		own := c.config.GetProfiles()[p.Name]
		second := signature{
			profile: p.Name,
			preset:  orDefault(own.GetPreset(), ownPreset),
			typ:     mediaType(p.Typ),
			iss:     items(p.Rules["iss"].Fixed),
			aud:     items(p.Rules["aud"].Fixed),
		}
		at := strictyaml.Path{"profiles", strictyaml.Key(p.Name), "key"}
		for _, first := range users[p.Key] {
			if permits(own, first.profile) || permits(c.config.GetProfiles()[first.profile], p.Name) {
				continue
			}
			if first.preset != second.preset {
				c.add(at, "profile %q of the preset %s uses this key too; a key serves one kind of consumer, so give each its own, or, if their vendor gives one key for both, say `shares_key_with: [%s]`", first.profile, first.preset, first.profile)
				break
			}
			if confusable(first, second) {
				c.add(at, "profile %q uses this key too and can have the same typ, iss and aud, so a verifier could take the token of one for the other's; give each its own key or aud, or say `shares_key_with: [%s]`", first.profile, first.profile)
			}
		}
		users[p.Key] = append(users[p.Key], second)
	}
}

// sharesKnown refuses names in shares_key_with that permit nothing.
func (c *checker) sharesKnown() {
	for name, p := range sorted(c.config.GetProfiles()) {
		for i, other := range p.GetSharesKeyWith() {
			at := strictyaml.Path{"profiles", strictyaml.Key(name), "shares_key_with", i}
			switch q, ok := c.config.GetProfiles()[other]; {
			case !ok:
				c.add(at, "there is no profile %q; there is %s", other, names(c.config.GetProfiles()))
			case other == name:
				c.add(at, "is this profile itself; name others")
			case p.GetKey() != q.GetKey():
				c.add(at, "profile %q uses another key, %q; remove it here", other, q.GetKey())
			}
		}
	}
}

func permits(p *configv1.Profile, other string) bool {
	return slices.Contains(p.GetSharesKeyWith(), other)
}

// confusable says whether two profiles can emit the same typ, iss and aud. A
// claim that is not fixed can be anything.
func confusable(a, b signature) bool {
	return a.typ == b.typ && overlap(a.iss, b.iss) && overlap(a.aud, b.aud)
}

// mediaType returns a typ as verifiers compare it, without case and the prefix
// application/ (RFC 7515 section 4.1.9). A token without typ is as good as a
// plain JWT to a verifier that looks at typ only where it has to.
func mediaType(typ string) string {
	if typ == "" {
		return "jwt"
	}
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// overlap says whether two fixed claims have a value in common.
func overlap(a, b []string) bool {
	return a == nil || b == nil || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// items returns the strings of a fixed value, which for iss and aud is a string
// or a list of them; nil where it is not fixed.
func items(v jsontext.Value) []string {
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(v, &list) == nil {
		return list
	}
	return nil
}
