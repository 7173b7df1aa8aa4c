package config

import (
	"path/filepath"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	"github.com/jotsmith/jotsmith/service/claims"
)

// audit checks the audit section, and which claims its records may show.
func (c *checker) audit() {
	name := c.config.GetAudit().GetCheckpointKey()
	at := strictyaml.Path{"audit", "checkpoint_key"}
	if name != "" {
		if _, ok := c.config.GetKeys()[name]; !ok {
			c.add(at, "there is no key %q; there is %s", name, names(c.config.GetKeys()))
		}
		for profile, p := range sorted(c.config.GetProfiles()) {
			if p.GetKey() == name {
				c.add(at, "the profile %q is signed by this key too; give the checkpoints a key of their own", profile)
			}
		}
	} else if c.config.GetAudit().GetCheckpointInterval() != nil {
		c.add(strictyaml.Path{"audit", "checkpoint_interval"}, "is for a log with a checkpoint_key")
	}
	for i := range c.config.SigningKeys {
		key := &c.config.SigningKeys[i]
		key.Checkpoints = name != "" && key.Name == name
	}
}

// admin refuses a socket that is another listener's.
func (c *checker) admin() {
	for i, l := range c.config.GetListeners() {
		if path := l.GetUnix().GetPath(); path != "" && filepath.Clean(path) == filepath.Clean(c.config.GetAdmin().GetPath()) {
			c.add(strictyaml.Path{"admin", "path"}, "is the path of listeners[%d] too; operators have a socket of their own", i)
		}
	}
}

// auditShows returns the claims whose values the record may show, which must be
// claims of the profile.
func (c *checker) auditShows(at strictyaml.Path, shows []string, rules map[string]claims.Rule) []string {
	for i, name := range shows {
		if _, ok := rules[name]; !ok {
			c.add(at.With(i), "the profile has no claim %q; it has %s", name, names(rules))
		}
	}
	return shows
}
