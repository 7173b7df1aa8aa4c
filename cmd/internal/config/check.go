package config

import (
	"encoding/hex"
	"maps"
	"net"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/signer"
)

// checker checks a decoded file and works out what the server takes from it.
type checker struct {
	problems
	config   *Config
	presets  map[string]*configv1.Preset
	checkURI func(string) error
}

// Validate runs the rules of the proto and then, over a file that keeps them,
// the checks that concern several fields.
func (c *checker) Validate(message proto.Message) error {
	if err := protovalidate.Validate(message); err != nil {
		return err
	}
	c.listeners()
	c.backends()
	c.keys()
	c.profiles()
	c.sharedKeys()
	c.grants()
	return c.err()
}

func (c *checker) listeners() {
	seen := map[string]bool{}
	for i, l := range c.config.GetListeners() {
		at := path{"listeners", i}
		var address string
		switch {
		case l.GetUnix() != nil:
			at, address = at.with("unix", "path"), l.GetUnix().GetPath()
		default:
			at, address = at.with("tcp", "address"), l.GetTcp().GetAddress()
			if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
				c.add(at, "host_port", "%q is not HOST:PORT, as in \"0.0.0.0:8443\"", address)
			}
		}
		if seen[address] {
			c.add(at, "unique", "%q is listened on twice", address)
		}
		seen[address] = true
	}
}

func (c *checker) backends() {
	for name, b := range sorted(c.config.GetBackends()) {
		if err := c.checkURI(b.GetUri()); err != nil {
			c.add(path{"backends", key(name), "uri"}, "backend_uri", "%v", err)
		}
	}
}

func (c *checker) keys() {
	kids, ids := map[string]string{}, map[string]string{}
	for name, k := range sorted(c.config.GetKeys()) {
		at := path{"keys", key(name)}
		backend, ok := c.config.GetBackends()[k.GetBackend()]
		if !ok {
			c.add(at.with("backend"), "known_backend", "there is no backend %q; there is %s", k.GetBackend(), names(c.config.GetBackends()))
		}
		if other, ok := kids[k.GetKid()]; ok {
			c.add(at.with("kid"), "unique", "key %q has this kid too; a verifier could not tell them apart", other)
		}
		kids[k.GetKid()] = name
		id := k.GetBackend() + " " + k.GetId()
		if other, ok := ids[id]; ok {
			c.add(at.with("id"), "unique", "key %q is the same key of the same backend", other)
		}
		ids[id] = name
		inFile := strings.HasPrefix(backend.GetUri(), "file:")
		if k.GetVerify() == "sampled" && ok && !inFile {
			c.add(at.with("verify"), "verify_always", "signatures from outside this process are always verified; remove this or set it to \"always\"")
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
		at := path{"grants", i}
		if seen[g.GetName()] {
			c.add(at.with("name"), "unique", "two grants are named %q", g.GetName())
		}
		seen[g.GetName()] = true
		rule := policy.Rule{Name: g.GetName(), Profiles: g.GetProfiles()}
		for j, profile := range g.GetProfiles() {
			if _, ok := c.config.GetProfiles()[profile]; !ok {
				c.add(at.with("profiles", j), "known_profile", "there is no profile %q; there is %s", profile, names(c.config.GetProfiles()))
			}
		}
		for _, m := range g.GetCallers() {
			rule.Callers = append(rule.Callers, match(m))
		}
		c.config.PolicyRules = append(c.config.PolicyRules, rule)
	}
}

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
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
