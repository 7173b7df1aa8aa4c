package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

const changedTail = `
listeners:
  - unix: {path: /tmp/s}
profiles:
  p:
    key: a
    preset: jwt
    claims: {iss: {fixed: i}, aud: {fixed: a}}
grants:
  - name: me
    callers: [{unix: {uid: 0}}]
    profiles: [p]
`

var inKMS = suggested{
	backend: "kms", uri: "awskms:?region=eu-west-1", id: "alias/a", spki: strings.Repeat("0f", 32),
}

func TestMovedKeysAreLineByLine(t *testing.T) {
	spki := `spki_sha256: "` + inKMS.spki + `"`
	for name, c := range map[string]struct{ config, want string }{
		"on one line": {
			"backends:\n  local: {uri: \"file:/k\"}\nkeys:\n  a: {backend: local, id: a.p8, kid: A, verify: always}\n  b: {backend: local, id: b.p8, kid: B}\n",
			"backends:\n  local: {uri: \"file:/k\"}\n  kms: {uri: \"awskms:?region=eu-west-1\"}\nkeys:\n" +
				"  a: {backend: kms, id: \"alias/a\", kid: A, " + spki + "}\n  b: {backend: local, id: b.p8, kid: B}\n",
		},
		"on lines of its own, with comments, the last": {
			"keys:\n    b: {backend: local, id: b.p8}\n    # Apple's\n    a:\n        id: a.p8 # downloaded\n        kid: \"0123456789\"\n        backend: local\n\n# stores\nbackends:\n    local:\n        # here\n        uri: \"file:/k\"\n",
			"keys:\n    b: {backend: local, id: b.p8}\n    # Apple's\n    a: {id: \"alias/a\", kid: \"0123456789\", backend: kms, " + spki + "}\n\n# stores\nbackends:\n    local:\n        # here\n        uri: \"file:/k\"\n    kms: {uri: \"awskms:?region=eu-west-1\"}\n",
		},
		"the store is known by another name": {
			"backends:\n  local: {uri: \"file:/k\"}\n  cloud: {uri: \"awskms:?region=eu-west-1\", max_in_flight: 3}\nkeys:\n  a: {backend: local, id: a.p8}\n  b: {backend: cloud, id: alias/b}\n",
			"backends:\n  local: {uri: \"file:/k\"}\n  cloud: {uri: \"awskms:?region=eu-west-1\", max_in_flight: 3}\nkeys:\n  a: {backend: cloud, id: \"alias/a\", " + spki + "}\n  b: {backend: cloud, id: alias/b}\n",
		},
		"the name is taken by another store": {
			"backends:\n  local: {uri: \"file:/k\"}\n  kms: {uri: \"awskms:?region=us-east-1\"}\nkeys:\n  a: {backend: local, id: a.p8, kid: A}\n  b: {backend: kms, id: alias/b}\n",
			"backends:\n  local: {uri: \"file:/k\"}\n  kms: {uri: \"awskms:?region=us-east-1\"}\n  kms-2: {uri: \"awskms:?region=eu-west-1\"}\nkeys:\n  a: {backend: kms-2, id: \"alias/a\", kid: A, " + spki + "}\n  b: {backend: kms, id: alias/b}\n",
		},
		"a member": {
			"backends:\n  local: {uri: \"file:/k\"}\n  hsm: {uri: \"file:/h\"}\nkeys:\n  a:\n    kid: A\n    members:\n      - {backend: hsm, id: a.p8}\n      - backend: local\n        id: a.p8\n  b: {backend: local, id: b.p8}\n",
			"backends:\n  local: {uri: \"file:/k\"}\n  hsm: {uri: \"file:/h\"}\n  kms: {uri: \"awskms:?region=eu-west-1\"}\nkeys:\n  a: {kid: A, members: [{backend: hsm, id: a.p8}, {backend: kms, id: \"alias/a\"}], " + spki + "}\n  b: {backend: local, id: b.p8}\n",
		},
		"a version": {
			"rotation_file: /r\nbackends:\n  local: {uri: \"file:/k\"}\nkeys:\n  a:\n    versions:\n      - {backend: local, id: old.p8, kid: O}\n      - {backend: local, id: a.p8, kid: A}\n    verify: always\n  b: {backend: local, id: b.p8}\n",
			"rotation_file: /r\nbackends:\n  local: {uri: \"file:/k\"}\n  kms: {uri: \"awskms:?region=eu-west-1\"}\nkeys:\n  a: {versions: [{backend: local, id: old.p8, kid: O}, {backend: kms, id: \"alias/a\", kid: A, " + spki + "}]}\n  b: {backend: local, id: b.p8}\n",
		},
		"a member of a version": {
			"rotation_file: /r\nbackends:\n  local: {uri: \"file:/k\"}\n  hsm: {uri: \"file:/h\"}\nkeys:\n  a:\n    versions: [{members: [{backend: local, id: a.p8}, {backend: hsm, id: a.p8}]}]\n  b: {backend: local, id: b.p8}\n",
			"rotation_file: /r\nbackends:\n  local: {uri: \"file:/k\"}\n  hsm: {uri: \"file:/h\"}\n  kms: {uri: \"awskms:?region=eu-west-1\"}\nkeys:\n  a: {versions: [{members: [{backend: kms, id: \"alias/a\"}, {backend: hsm, id: a.p8}], " + spki + "}]}\n  b: {backend: local, id: b.p8}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(c.config + changedTail)
			if _, err := config.Parse("before", data, checkURI); err != nil {
				t.Fatal(err)
			}
			changes, err := moveKeys(data, []keyPlace{{"a", "local", "a.p8"}}, inKMS, false)
			if err != nil {
				t.Fatal(err)
			}
			got := apply(data, changes)
			if diff := cmp.Diff(c.want+changedTail, string(got)); diff != "" {
				t.Error(diff)
			}
			if _, err := config.Parse("after", got, checkURI); err != nil {
				t.Error(err)
			}
			for _, c := range changes {
				if text := c.text(); c.Line < 1 || !strings.Contains(text, "+  ") {
					t.Errorf("shown as %s", text)
				}
			}
		})
	}
}

func TestConfigurationsWhoseChangeCannotBeShown(t *testing.T) {
	for name, text := range map[string]string{
		"empty":               "",
		"no keys":             "backends:\n  local: {uri: x}\n",
		"keys in braces":      "backends:\n  local: {uri: x}\nkeys: {a: {backend: local, id: a.p8}}\n",
		"an anchor's members": "backends:\n  local: {uri: x}\nkeys:\n  a:\n    members: []\n",
		"not YAML":            "a: [",
	} {
		if changes, err := moveKeys([]byte(text), []keyPlace{{"a", "local", "a.p8"}}, inKMS, false); err == nil {
			t.Errorf("%s: %v", name, changes)
		}
	}
}

// Whatever a configuration looks like: a change that is shown is one of lines
// that are there.
func FuzzMoveKeys(f *testing.F) {
	f.Add("backends:\n  local: {uri: \"file:/k\"}\nkeys:\n  a: {backend: local, id: a.p8}\n")
	f.Add("keys:\n  a:\n    members:\n    - {backend: local, id: a.p8}\n    backend: |\n      x\nbackends:\n  b:\n    uri: >\n      y\n")
	f.Add("backends: &x\n  a: {uri: u}\nkeys: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		changes, err := moveKeys([]byte(text), []keyPlace{{"a", "local", "a.p8"}}, inKMS, false)
		if err == nil && len(changes) > 0 {
			apply([]byte(text), changes)
		}
	})
}

func TestKeyName(t *testing.T) {
	for id, want := range map[string]string{
		"alias/team/asc": "asc", "AuthKey_2X9R4HXF34.p8": "AuthKey_2X9R4HXF34", "push/key.pem": "key", "id=%01%02": "id-01-02",
		"id=%01;object=my%20key": "my-20key", "object=a": "a", "alias/---": "key", "alias/" + strings.Repeat("a", 200): strings.Repeat("a", 63),
	} {
		if got := keyName(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
