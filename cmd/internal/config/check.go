package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

// checker checks a decoded file and works out what the server takes from it.
type checker struct {
	problems []strictyaml.Problem
	config   *Config
	presets  map[string]*configv1.Preset
	checkURI func(string) error
}

// check runs the checks that concern several fields, over a file that keeps
// the rules in the proto.
func (c *checker) check() []strictyaml.Problem {
	c.listeners()
	c.backends()
	c.keys()
	c.profiles()
	c.sharesKnown()
	c.grants()
	if len(c.problems) == 0 { // what is wrong in a profile could be why it looks like another
		c.sharedKeys()
	}
	return c.problems
}

func (c *checker) listeners() {
	seen := map[string]bool{}
	for i, l := range c.config.GetListeners() {
		at := strictyaml.Path{"listeners", i}
		var address string
		switch {
		case l.GetUnix() != nil:
			at, address = at.With("unix", "path"), filepath.Clean(l.GetUnix().GetPath())
		default:
			at, address = at.With("tcp", "address"), l.GetTcp().GetAddress()
			_, port, err := net.SplitHostPort(address)
			if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
				c.add(at, "%q is not HOST:PORT with a number as the port, as in \"0.0.0.0:8443\" or \"[::1]:8443\"", address)
			}
		}
		if seen[address] {
			c.add(at, "%q is listened on twice", address)
		}
		seen[address] = true
	}
}

func (c *checker) backends() {
	for name, b := range sorted(c.config.GetBackends()) {
		if err := c.checkURI(b.GetUri()); err != nil {
			c.add(strictyaml.Path{"backends", strictyaml.Key(name), "uri"}, "%v", err)
		}
	}
}

func (c *checker) keys() {
	kids, ids, pins := map[string]string{}, map[string]string{}, map[string]string{}
	for name, k := range sorted(c.config.GetKeys()) {
		at := strictyaml.Path{"keys", strictyaml.Key(name)}
		backend, ok := c.config.GetBackends()[k.GetBackend()]
		if !ok {
			c.add(at.With("backend"), "there is no backend %q; there is %s", k.GetBackend(), names(c.config.GetBackends()))
		}
		if other, ok := kids[k.GetKid()]; ok {
			c.add(at.With("kid"), "key %q has this kid too; a verifier could not tell them apart", other)
		}
		kids[k.GetKid()] = name
		// By the URI and not by the backend's name: two names of one store would
		// hide that profiles share a key.
		id := backend.GetUri() + " " + k.GetId()
		if other, twice := ids[id]; twice && ok {
			c.add(at.With("id"), "key %q is the same key of the same store; use that one", other)
		}
		ids[id] = name
		if other, ok := pins[k.GetSpkiSha256()]; ok && k.GetSpkiSha256() != "" {
			c.add(at.With("spki_sha256"), "key %q is pinned to the same public key; use that one", other)
		}
		pins[k.GetSpkiSha256()] = name
		inFile := strings.HasPrefix(backend.GetUri(), "file:")
		if k.GetVerify() == "sampled" && ok && !inFile {
			c.add(at.With("verify"), "signatures from outside this process are always verified; remove this or set it to \"always\"")
		}
		spki, err := hex.DecodeString(k.GetSpkiSha256())
		if err != nil || len(spki) == 0 {
			spki = nil // the rule of the field has refused what is no hexadecimal
		}
		c.config.SigningKeys = append(c.config.SigningKeys, signer.Key{
			Name: name, Store: k.GetBackend(), ID: k.GetId(), KID: k.GetKid(),
			SPKISHA256: spki, VerifyAlways: k.GetVerify() == "always",
		})
	}
}

func (c *checker) grants() {
	seen := map[string]bool{}
	for i, g := range c.config.GetGrants() {
		at := strictyaml.Path{"grants", i}
		if seen[g.GetName()] {
			c.add(at.With("name"), "two grants are named %q; a log could not tell them apart", g.GetName())
		}
		seen[g.GetName()] = true
		rule := policy.Rule{Name: g.GetName(), Profiles: g.GetProfiles()}
		for j, profile := range g.GetProfiles() {
			if _, ok := c.config.GetProfiles()[profile]; !ok {
				c.add(at.With("profiles", j), "there is no profile %q; there is %s", profile, names(c.config.GetProfiles()))
			}
		}
		for j, m := range g.GetCallers() {
			c.san(at.With("callers", j, "mtls"), m.GetMtls())
			rule.Callers = append(rule.Callers, match(m))
		}
		c.config.PolicyRules = append(c.config.PolicyRules, rule)
	}
}

// san refuses names that no certificate has as they are: they would grant
// nothing, in silence.
func (c *checker) san(at strictyaml.Path, san *configv1.MtlsCaller) {
	if text := san.GetUri(); text != "" {
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.String() != text {
			c.add(at.With("uri"), "%q is not a URI as a certificate has it, as in spiffe://example.org/ci", text)
		} else if strings.Contains(text, "*") {
			c.add(at.With("uri"), "names match exactly; a wildcard would match nobody")
		}
	}
	if text := san.GetDns(); strings.Contains(text, "*") {
		c.add(at.With("dns"), "names match exactly; a wildcard would match nobody")
	} else if text != "" && !dnsName.MatchString(text) {
		c.add(at.With("dns"), "%q is not a DNS name, as in ci.example.org", text)
	}
	if text := san.GetEmail(); text != "" && !email.MatchString(text) {
		c.add(at.With("email"), "%q is not an e-mail address, as in ci@example.org", text)
	}
}

var (
	dnsName = regexp.MustCompile(`\A[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\z`)
	email   = regexp.MustCompile(`\A[!-?A-~]+@[!-?A-~]+\z`)
)

func match(m *configv1.CallerMatch) policy.Match {
	if u := m.GetUnix(); u != nil {
		return policy.Match{Unix: &policy.UnixMatch{UID: u.Uid, GID: u.Gid}}
	}
	san := m.GetMtls()
	return policy.Match{URI: san.GetUri(), DNS: strings.ToLower(san.GetDns()), Email: san.GetEmail()}
}

// sorted ranges over a map in the order of its names.
func sorted[V any](m map[string]V) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

// names lists the names of a map for a message.
func names[V any](m map[string]V) string {
	const most = 20
	list := slices.Sorted(maps.Keys(m))
	if len(list) > most {
		list = append(list[:most], "...")
	}
	return strings.Join(list, ", ")
}

// add notes what is wrong with a field and the mend.
func (c *checker) add(at strictyaml.Path, format string, args ...any) {
	c.problems = append(c.problems, strictyaml.Problem{At: at, Text: fmt.Sprintf(format, args...)})
}
