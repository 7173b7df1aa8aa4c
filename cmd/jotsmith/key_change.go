package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// change is one change of a configuration file.
type change struct {
	At     string   `json:"at"`            // the line that it comes after, or what it is a part of
	Line   int      `json:"line,omitzero"` // the number of the first line; 0 where no file is changed
	Remove []string `json:"remove,omitempty"`
	Add    []string `json:"add"`
}

func (c change) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "   %s", c.At)
	if c.Line > 0 {
		fmt.Fprintf(&b, "    (line %d)", c.Line)
	}
	b.WriteString("\n")
	for _, line := range c.Remove {
		fmt.Fprintf(&b, "-  %s\n", line)
	}
	for _, line := range c.Add {
		fmt.Fprintf(&b, "+  %s\n", line)
	}
	return b.String()
}

// apply makes the changes.
func apply(data []byte, changes []change) []byte {
	lines := strings.Split(string(data), "\n")
	for _, c := range slices.SortedFunc(slices.Values(changes), func(a, b change) int { return cmp.Compare(b.Line, a.Line) }) {
		lines = slices.Replace(lines, c.Line-1, c.Line-1+len(c.Remove), c.Add...)
	}
	return []byte(strings.Join(lines, "\n"))
}

// keyPlace is where a key of a configuration lies: the key itself, one of its
// versions, or a member of either.
type keyPlace struct{ name, backend, id string }

// among returns the first of some entries that lies there, itself or by one of its
// members; nil where none does.
func (p keyPlace) among(entries *yaml.Node) *yaml.Node {
	for _, entry := range entries.Content {
		backend, id := member(entry, "backend"), member(entry, "id")
		if backend != nil && id != nil && backend.Value == p.backend && id.Value == p.id {
			return entry
		}
		if members := member(entry, "members"); members != nil && p.among(members) != nil {
			return entry
		}
	}
	return nil
}

// moveKeys has keys of a configuration lie where s says in the place of where
// they do, under the kid that they have. Whatever else is said of a key stays,
// but which signatures are verified: outside of files that is always.
func moveKeys(data []byte, places []keyPlace, s suggested, toFile bool) ([]change, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 {
		return nil, errors.New("it is empty")
	}
	root := document.Content[0]
	lines := strings.Split(string(data), "\n")
	stores, err := section(root, "backends")
	if err != nil {
		return nil, err
	}
	keys, err := section(root, "keys")
	if err != nil {
		return nil, err
	}
	var changes []change
	known := map[string]string{} // name to URI
	for name, store := range pairs(stores) {
		if uri := member(store, "uri"); uri != nil {
			known[name.Value] = uri.Value
		}
	}
	s.backend = storeName(known, s.backend, s.uri)
	if _, there := known[s.backend]; !there {
		last := lastLine(stores)
		changes = append(changes, change{
			At: "backends:", Line: last + 1, Add: []string{strings.Repeat(" ", stores.Content[0].Column-1) + s.backendLine()},
		})
	}
	for name, key := range pairs(keys) {
		i := slices.IndexFunc(places, func(p keyPlace) bool { return p.name == name.Value })
		if i < 0 {
			continue
		}
		first, last := name.Line, lastLine(key)
		moved, err := movedKey(name, key, places[i], s, toFile)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{At: "keys:", Line: first, Remove: lines[first-1 : last], Add: []string{strings.Repeat(" ", name.Column-1) + moved}})
	}
	return changes, nil
}

// movedKey writes an entry of `keys` on one line.
func movedKey(name, key *yaml.Node, from keyPlace, s suggested, toFile bool) (string, error) {
	strip(key)
	place := map[string]*yaml.Node{"backend": {Kind: yaml.ScalarNode, Value: s.backend}, "id": quoted(s.id)}
	if !toFile {
		drop(key, "verify")
	}
	at := key
	for _, list := range []string{"versions", "members"} {
		if list == "members" {
			set(at, "spki_sha256", quoted(s.spki)) // of the version, or of the key
		}
		entries := member(at, list)
		if entries == nil {
			continue
		}
		if at = from.among(entries); at == nil {
			return "", fmt.Errorf("the file is among the %s of keys.%s, and not spelled out there: change it by hand, and give --kid in the place of --config", list, name.Value)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(place)) {
		set(at, field, place[field])
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	entry := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: name.Value}, key}}
	if err := encoder.Encode(entry); err != nil {
		return "", err
	}
	text := strings.TrimSpace(out.String())
	return strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"), nil
}

// set gives a mapping's field a value, in its place if it has one.
func set(n *yaml.Node, field string, value *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field}, value)
}

func drop(n *yaml.Node, field string) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

func quoted(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: value}
}

// strip makes a node fit for one line, which comments have no place on.
func strip(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		strip(c)
	}
}

// storeName returns the name of the backend of that URI, or a new one.
func storeName(known map[string]string, name, uri string) string {
	for _, n := range slices.Sorted(maps.Keys(known)) {
		if known[n] == uri {
			return n
		}
	}
	for n, candidate := 2, name; ; n++ {
		if _, taken := known[candidate]; !taken {
			return candidate
		}
		candidate = fmt.Sprintf("%s-%d", name, n)
	}
}

// section returns a mapping of the file that has each entry on lines of its own.
func section(root *yaml.Node, name string) (*yaml.Node, error) {
	n := member(root, name)
	if n == nil || n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
		return nil, fmt.Errorf("%s is not written with an entry a line: the change cannot be shown; give --kid in the place of --config", name)
	}
	return n, nil
}

func member(n *yaml.Node, name string) *yaml.Node {
	for key, value := range pairs(n) {
		if key.Value == name {
			return value
		}
	}
	return nil
}

// pairs ranges over a mapping.
func pairs(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for pair := range slices.Chunk(n.Content, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

// lastLine is the number of the last line of a node that is no block of text.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
