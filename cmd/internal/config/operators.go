package config

import (
	"net/netip"
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
		if len(c.config.GetKeys()[name].GetVersions()) > 0 {
			c.add(at, "the key %q has versions; give the checkpoints a key without them, and another name when it is replaced", name)
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
	c.ownPath(strictyaml.Path{"admin", "path"}, c.config.GetAdmin().GetPath(), "operators have a socket of their own")
}

// ownPath refuses the path of a socket that is another listener's.
func (c *checker) ownPath(at strictyaml.Path, path, why string) {
	for i, l := range c.config.GetListeners() {
		if other := l.GetUnix().GetPath(); other != "" && path != "" && filepath.Clean(other) == filepath.Clean(path) {
			c.add(at, "is the path of listeners[%d] too; %s", i, why)
		}
	}
}

// metrics refuses an address that is another listener's, and one that strangers
// could reach without the operator's word that they may.
func (c *checker) metrics() {
	m := c.config.GetMetrics()
	at := strictyaml.Path{"metrics", "address"}
	if path := m.GetUnix().GetPath(); path != "" {
		at = strictyaml.Path{"metrics", "unix", "path"}
		c.ownPath(at, path, "the metrics have a socket of their own")
		if filepath.Clean(path) == filepath.Clean(c.config.GetAdmin().GetPath()) {
			c.add(at, "is the path of admin too; the metrics have a socket of their own")
		}
		if m.GetPublic() {
			c.add(strictyaml.Path{"metrics", "public"}, "is for an address; the mode of a socket says who may read")
		}
		return
	}
	if m.GetAddress() == "" {
		return
	}
	host, ok := c.hostPort(at, m.GetAddress(), "127.0.0.1:9464")
	if ok && !Loopback(host) && !m.GetPublic() {
		c.add(at, "%q can be reached from other machines, and anybody there could read the names of profiles and keys; listen on 127.0.0.1, or set public: true", m.GetAddress())
	}
	c.ownAddress(at, m.GetAddress())
}

// Loopback says whether a host is this machine and nobody else can reach it.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
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
