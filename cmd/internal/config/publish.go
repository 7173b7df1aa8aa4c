package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/publish"
)

// publish works out which keys are published, and where.
func (c *checker) publish() {
	p := c.config.GetPublish()
	if p == nil {
		return
	}
	at := strictyaml.Path{"publish"}
	c.publishAddress(at, p)
	before := len(c.problems)
	plan := &c.config.Published
	plan.Issuers = c.publishedIssuers(at, p)
	for i, name := range p.GetKeys() {
		c.publishedKey(at.With("keys", i), name)
	}
	plan.Keys = inOrder(slices.Clone(p.GetKeys()))
	switch {
	case len(c.problems) > before:
	case plan.Empty():
		c.add(at, "nothing would be published: no profile without a preset, or of the preset jwt, fixes iss to an https URL; name keys in `keys`, or remove this")
	default:
		if err := plan.Check(); err != nil {
			c.add(at, "%v; say in `issuers` which are published here", err)
		}
	}
}

// publishAddress checks what HTTP is listened on.
func (c *checker) publishAddress(at strictyaml.Path, p *configv1.Publish) {
	if (p.GetCertificateFile() == "") != (p.GetKeyFile() == "") {
		c.add(at, "certificate_file and key_file go together; set both or none")
	}
	if p.GetAddress() == "" {
		for field, set := range sorted(map[string]bool{"certificate_file": p.GetCertificateFile() != "", "max_connections": p.GetMaxConnections() != 0}) {
			if set {
				c.add(at.With(field), "is for a listener; set address, or remove this")
			}
		}
		return
	}
	c.hostPort(at.With("address"), p.GetAddress(), "0.0.0.0:8080")
	c.ownAddress(at.With("address"), p.GetAddress())
	if p.GetAddress() == c.config.GetMetrics().GetAddress() {
		c.add(at.With("address"), "is the address of metrics too")
	}
}

// publishedKey refuses a key that no verifier of tokens has a use for.
func (c *checker) publishedKey(at strictyaml.Path, name string) {
	switch _, ok := c.config.GetKeys()[name]; {
	case !ok:
		c.add(at, "there is no key %q; there is %s", name, names(c.config.GetKeys()))
	case name == c.config.GetAudit().GetCheckpointKey():
		c.add(at, "%q signs checkpoints of the audit record and no token; whoever verifies those gets it from `jotsmith key describe`", name)
	}
}

// publishedIssuers returns the issuers, sorted by URL: those that are named, or
// all whose keys are this organisation's own to show.
func (c *checker) publishedIssuers(at strictyaml.Path, p *configv1.Publish) []publish.Issuer {
	named := len(p.GetIssuers()) > 0
	found := map[string]*publish.Issuer{}
	for _, profile := range c.config.ClaimProfiles {
		own := c.config.GetProfiles()[profile.Name].GetPreset()
		if !named && own != "" && !c.presets[own].GetOpen() {
			continue // a vendor has the key already, and nobody else needs it
		}
		url := fixedURL(profile)
		if url == "" {
			continue
		}
		if found[url] == nil {
			found[url] = &publish.Issuer{URL: url}
			if _, err := publish.PathOf(url); err != nil && !named {
				c.add(at, "the iss of profile %q cannot be published: %v; say in `issuers` which are", profile.Name, err)
			}
		}
		found[url].Keys = append(found[url].Keys, profile.Key)
		found[url].Claims = append(found[url].Claims, registered(profile)...)
	}
	for i, issuer := range p.GetIssuers() {
		at := at.With("issuers", i)
		if _, err := publish.PathOf(issuer.GetUrl()); err != nil {
			c.add(at.With("url"), "%v", err)
		} else if found[issuer.GetUrl()] == nil {
			c.add(at.With("url"), "no profile fixes iss to %q; there is %s", issuer.GetUrl(), orNone(names(found)))
		}
		if slices.ContainsFunc(p.GetIssuers()[:i], func(other *configv1.PublishedIssuer) bool { return other.GetUrl() == issuer.GetUrl() }) {
			c.add(at.With("url"), "%q stands here twice", issuer.GetUrl())
		}
		for j, name := range issuer.GetKeys() {
			c.publishedKey(at.With("keys", j), name)
		}
		if found[issuer.GetUrl()] != nil {
			found[issuer.GetUrl()].Keys = append(found[issuer.GetUrl()].Keys, issuer.GetKeys()...)
		}
	}
	if named {
		maps.DeleteFunc(found, func(url string, _ *publish.Issuer) bool {
			return !slices.ContainsFunc(p.GetIssuers(), func(issuer *configv1.PublishedIssuer) bool { return issuer.GetUrl() == url })
		})
	}
	var issuers []publish.Issuer
	for _, issuer := range sorted(found) {
		issuer.Keys, issuer.Claims = inOrder(issuer.Keys), inOrder(issuer.Claims)
		issuers = append(issuers, *issuer)
	}
	return issuers
}

// fixedURL returns the https URL that a profile fixes iss to; empty where it
// does not.
func fixedURL(p claims.Profile) string {
	for _, iss := range items(p.Rules["iss"].Fixed) {
		if strings.HasPrefix(iss, "https://") {
			return iss
		}
	}
	return ""
}

// registered returns the registered claims (RFC 7519 section 4.1) that a
// profile's tokens can have. What else is in them is nobody's business.
func registered(p claims.Profile) []string {
	var list []string
	for _, name := range []string{"aud", "exp", "iat", "iss", "jti", "nbf", "sub"} {
		if rule, ok := p.Rules[name]; ok && !rule.Forbidden {
			list = append(list, name)
		}
	}
	return list
}

// inOrder returns each name once, sorted.
func inOrder(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func orNone(names string) string { return orDefault(names, "none") }
