package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
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
	c.issuers()
	c.backends()
	c.keys()
	c.profiles()
	c.sharesKnown()
	c.grants()
	c.audit()
	c.admin()
	if len(c.problems) == 0 { // what is wrong in a profile could be why it looks like another
		c.sharedKeys()
	}
	return c.problems
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
		if other, ok := kids[k.GetKid()]; ok && k.Kid != nil {
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
