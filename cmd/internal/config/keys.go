package config

import (
	"encoding/hex"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/signer"
)

// keys turns each key into what signer takes.
func (c *checker) keys() {
	kids, ids, pins := map[string]string{}, map[string]string{}, map[string]string{}
	for name, k := range sorted(c.config.GetKeys()) {
		at := strictyaml.Path{"keys", strictyaml.Key(name)}
		members, inFiles := c.members(at, name, k, ids)
		if other, ok := kids[k.GetKid()]; ok && k.Kid != nil {
			c.add(at.With("kid"), "key %q has this kid too; a verifier could not tell them apart", other)
		}
		kids[k.GetKid()] = name
		if other, ok := pins[k.GetSpkiSha256()]; ok && k.GetSpkiSha256() != "" {
			c.add(at.With("spki_sha256"), "key %q is pinned to the same public key; use that one", other)
		}
		pins[k.GetSpkiSha256()] = name
		if k.GetVerify() == "sampled" && !inFiles {
			c.add(at.With("verify"), "signatures from outside this process are always verified; remove this or set it to \"always\"")
		}
		spki, err := hex.DecodeString(k.GetSpkiSha256())
		if err != nil || len(spki) == 0 {
			spki = nil // the rule of the field has refused what is no hexadecimal
		}
		c.config.SigningKeys = append(c.config.SigningKeys, signer.Key{
			Name: name, Members: members, KID: k.GetKid(),
			SPKISHA256: spki, VerifyAlways: k.GetVerify() == "always",
		})
	}
}

// place is where in the file it stands that a key is in a store.
type place struct {
	backend, id strictyaml.Path
	signer.Member
}

// members returns the places of a key, and whether all are files as far as is
// known. ids are those of all keys so far, with the keys' names.
func (c *checker) members(at strictyaml.Path, name string, k *configv1.Key, ids map[string]string) (members []signer.Member, inFiles bool) {
	inFiles = true
	for _, p := range c.places(at, k) {
		members = append(members, p.Member)
		backend, ok := c.config.GetBackends()[p.Store]
		if !ok {
			c.add(p.backend, "there is no backend %q; there is %s", p.Store, names(c.config.GetBackends()))
			continue
		}
		inFiles = inFiles && strings.HasPrefix(backend.GetUri(), "file:")
		// By the URI and not by the backend's name: two names of one store would
		// hide that profiles share a key.
		id := backend.GetUri() + " " + p.ID
		switch other, twice := ids[id]; {
		case twice && other == name:
			c.add(p.id, "is the same key of the same store as a member before; remove one")
		case twice:
			c.add(p.id, "key %q is the same key of the same store; use that one", other)
		}
		ids[id] = name
	}
	return members, inFiles
}

// places returns the members of a key, or its only place.
func (c *checker) places(at strictyaml.Path, k *configv1.Key) []place {
	if len(k.GetMembers()) == 0 {
		for field, set := range sorted(map[string]bool{"backend": k.Backend != nil, "id": k.Id != nil}) {
			if !set {
				c.add(at.With(field), "is missing; a key has backend and id, or members that have them")
			}
		}
		if k.Backend == nil || k.Id == nil {
			return nil
		}
		return []place{{at.With("backend"), at.With("id"), signer.Member{Store: k.GetBackend(), ID: k.GetId()}}}
	}
	for field, set := range sorted(map[string]bool{"backend": k.Backend != nil, "id": k.Id != nil}) {
		if set {
			c.add(at.With(field), "the members say where the key is; remove this, or make it one of them")
		}
	}
	places := make([]place, len(k.GetMembers()))
	for i, m := range k.GetMembers() {
		at := at.With("members", i)
		places[i] = place{at.With("backend"), at.With("id"), signer.Member{Store: m.GetBackend(), ID: m.GetId()}}
	}
	return places
}
