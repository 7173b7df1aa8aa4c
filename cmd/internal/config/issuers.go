package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	"github.com/jotsmith/jotsmith/service/authn/oidc"
)

// The defaults of an issuer.
const (
	defaultMinRefresh = time.Minute
	defaultMaxStale   = time.Hour
)

// maxCA is far more than a file of CA certificates has, in bytes.
const maxCA = 1 << 20

// TokenIssuers returns the issuers, sorted by name, with their defaults. It
// reads their CA files.
func (c *Config) TokenIssuers() ([]oidc.Issuer, error) {
	var issuers []oidc.Issuer
	for name, i := range sorted(c.GetIssuers()) {
		issuer := oidc.Issuer{
			Name: name, URL: i.GetUrl(), Audiences: i.GetAudiences(), Algorithms: i.GetAlgorithms(), JWKSURL: i.GetJwksUrl(),
			MinRefresh: defaultMinRefresh, MaxStale: defaultMaxStale,
		}
		if i.GetMinRefresh() != nil {
			issuer.MinRefresh = i.GetMinRefresh().AsDuration()
		}
		if i.GetMaxStale() != nil {
			issuer.MaxStale = i.GetMaxStale().AsDuration()
		}
		if i.GetCaFile() != "" {
			pem, err := backends.ReadFile(i.GetCaFile(), maxCA)
			if err != nil {
				return nil, fmt.Errorf("CA of issuer %s: %w", name, err)
			}
			issuer.CAPEM = pem
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

// issuers checks the OpenID Connect providers. What cannot be right would make
// every token of the issuer be refused, in silence but for the log.
func (c *checker) issuers() {
	urls := map[string]string{}
	for name, i := range sorted(c.config.GetIssuers()) {
		at := strictyaml.Path{"issuers", strictyaml.Key(name)}
		c.httpsURL(at.With("url"), i.GetUrl())
		if u, err := url.Parse(i.GetUrl()); err == nil && u.RawQuery != "" {
			c.add(at.With("url"), "an issuer's url has no query (OpenID Connect Discovery 1.0 section 3)")
		}
		if other, ok := urls[i.GetUrl()]; ok {
			c.add(at.With("url"), "issuer %q has this url too; a token's iss could not tell them apart", other)
		}
		urls[i.GetUrl()] = name
		if i.GetJwksUrl() != "" {
			c.httpsURL(at.With("jwks_url"), i.GetJwksUrl())
		}
		for j, aud := range i.GetAudiences() {
			switch {
			case strings.TrimSpace(aud) == "":
				c.add(at.With("audiences", j), "an audience is not empty; take one that names this server, as in https://jotsmith.example.org")
			case slices.Contains(i.GetAudiences()[:j], aud):
				c.add(at.With("audiences", j), "%q stands here twice", aud)
			}
		}
	}
}

// httpsURL refuses what is no URL to fetch from, or has more in it than that.
func (c *checker) httpsURL(at strictyaml.Path, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		c.add(at, "%q is not an https URL, as in https://gitlab.example.org", text)
	case u.User != nil:
		c.add(at, "a URL here holds no user or password")
	case u.Fragment != "":
		c.add(at, "a URL here has no fragment")
	}
}
