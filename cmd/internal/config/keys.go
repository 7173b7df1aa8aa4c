package config

import (
	"encoding/hex"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/signer"
)

// keys turns each key, and each version of one, into what signer takes.
func (c *checker) keys() {
	seen := &keysSeen{kids: map[string]string{}, ids: map[string]string{}, pins: map[string]string{}}
	for name, k := range sorted(c.config.GetKeys()) {
		at := strictyaml.Path{"keys", strictyaml.Key(name)}
		if len(k.GetVersions()) > 0 {
			c.versions(at, name, k, seen)
			continue
		}
		if k.GetRotation() != nil {
			c.add(at.With("rotation"), "is for a key with versions")
		}
		c.key(at, signer.Key{Name: name}, k, k.GetVerify(), at.With("verify"), seen)
	}
}

// versions turns each version of a key into a key of its own.
func (c *checker) versions(at strictyaml.Path, name string, k *configv1.Key, seen *keysSeen) {
	for field, set := range sorted(map[string]bool{
		"backend": k.Backend != nil, "id": k.Id != nil, "kid": k.Kid != nil,
		"spki_sha256": k.GetSpkiSha256() != "", "members": len(k.GetMembers()) > 0,
	}) {
		if set {
			c.add(at.With(field), "each of the versions says this; remove it here")
		}
	}
	if c.config.GetRotationFile() == "" {
		c.add(at.With("versions"), "a key with versions needs a rotation_file, where the server remembers which of them signs; set it to a path that it can write")
	}
	for i, v := range k.GetVersions() {
		c.key(at.With("versions", i), signer.Key{Name: name, Version: i + 1}, v, k.GetVerify(), at.With("verify"), seen)
	}
}

// keysSeen are what the keys so far have, by who has it.
type keysSeen struct{ kids, ids, pins map[string]string }

// located is a key, or a version of one, in the file.
type located interface {
	GetBackend() string
	GetId() string
	GetKid() string
	GetSpkiSha256() string
	GetMembers() []*configv1.KeyMember
}

// key checks one key, or one version of it, and takes it up.
func (c *checker) key(at strictyaml.Path, out signer.Key, k located, verify string, verifyAt strictyaml.Path, seen *keysSeen) {
	label := out.Label()
	members, inFiles := c.members(at, label, k, seen.ids)
	if other, ok := seen.kids[k.GetKid()]; ok && k.GetKid() != "" {
		c.add(at.With("kid"), "key %q has this kid too; a verifier could not tell them apart", other)
	}
	seen.kids[k.GetKid()] = label
	if other, ok := seen.pins[k.GetSpkiSha256()]; ok && k.GetSpkiSha256() != "" {
		c.add(at.With("spki_sha256"), "key %q is pinned to the same public key; use that one", other)
	}
	seen.pins[k.GetSpkiSha256()] = label
	if verify == "sampled" && !inFiles {
		c.add(verifyAt, "signatures from outside this process are always verified; remove this or set it to \"always\"")
	}
	spki, err := hex.DecodeString(k.GetSpkiSha256())
	if err != nil || len(spki) == 0 {
		spki = nil // the rule of the field has refused what is no hexadecimal
	}
	out.Members, out.KID, out.SPKISHA256, out.VerifyAlways = members, k.GetKid(), spki, verify == "always"
	c.config.SigningKeys = append(c.config.SigningKeys, out)
}

// place is where in the file it stands that a key is in a store.
type place struct {
	backend, id strictyaml.Path
	signer.Member
}

// members returns the places of a key, and whether all are files as far as is
// known. ids are those of all keys so far, with the keys' names.
func (c *checker) members(at strictyaml.Path, name string, k located, ids map[string]string) (members []signer.Member, inFiles bool) {
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
func (c *checker) places(at strictyaml.Path, k located) []place {
	if len(k.GetMembers()) == 0 {
		for field, value := range sorted(map[string]string{"backend": k.GetBackend(), "id": k.GetId()}) {
			if value == "" {
				c.add(at.With(field), "is missing; a key has backend and id, or members that have them")
			}
		}
		if k.GetBackend() == "" || k.GetId() == "" {
			return nil
		}
		return []place{{at.With("backend"), at.With("id"), signer.Member{Store: k.GetBackend(), ID: k.GetId()}}}
	}
	for field, value := range sorted(map[string]string{"backend": k.GetBackend(), "id": k.GetId()}) {
		if value != "" {
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
