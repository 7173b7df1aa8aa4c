package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
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
	c.rotations()
	c.sharesKnown()
	c.grants()
	c.audit()
	c.admin()
	c.metrics()
	c.publish()
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
