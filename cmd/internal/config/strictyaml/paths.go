package strictyaml

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// A Path leads to a field: a string is the name of a field, a Key or an int
// what stands below the map or list before it.
type Path []any

// A Key is a step of a Path: a name in the map before it.
type Key string

// With returns the path with more steps.
func (at Path) With(steps ...any) Path { return append(slices.Clip(at), steps...) }

// plainKey is a Key that needs no quotes in a path.
var plainKey = regexp.MustCompile(`\A[A-Za-z0-9_-]+\z`)

// String writes the path as in keys.apple.kid or grants[0].profiles[1].
func (at Path) String() string {
	var b strings.Builder
	for i, step := range at {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
			continue
		case Key:
			if !plainKey.MatchString(string(step)) {
				fmt.Fprintf(&b, "[%q]", string(step))
				continue
			}
		}
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, step)
	}
	return b.String()
}

// find returns the node to show for a path: the value of a field where it is
// one word, its key where it is more. Where the path is not there it returns
// the nearest node above.
func find(root *yaml.Node, at Path, isKey bool) (node *yaml.Node, there bool) {
	node = root
	shown := root
	for i, step := range at {
		last := i == len(at)-1
		switch step := step.(type) {
		case int:
			if node.Kind != yaml.SequenceNode || step >= len(node.Content) {
				return shown, false
			}
			node = node.Content[step]
			shown = node
		default:
			name, value := entry(node, fmt.Sprint(step))
			if value == nil {
				return shown, false
			}
			node, shown = value, name
			if last && value.Kind == yaml.ScalarNode && !isKey {
				shown = value
			}
		}
	}
	return shown, true
}

// entry returns the key and value nodes of a name in a mapping.
func entry(mapping *yaml.Node, name string) (keyNode, value *yaml.Node) {
	if mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// Problem is something wrong with a field.
type Problem struct {
	At   Path
	Text string // what is wrong and the mend

	isKey bool                     // it is about a map's key, not its value
	rule  *protovalidate.Violation // the broken rule, in the place of Text
}

// brokenRules returns the rules in the proto that the message breaks.
func brokenRules(message proto.Message) ([]Problem, error) {
	err := protovalidate.Validate(message)
	var broken *protovalidate.ValidationError
	if err == nil {
		return nil, nil
	} else if !errors.As(err, &broken) {
		return nil, err
	}
	var list []Problem
	for _, v := range broken.Violations {
		var at Path
		for _, element := range v.Proto.GetField().GetElements() {
			at = append(at, element.GetFieldName())
			if element.HasStringKey() {
				at = append(at, Key(element.GetStringKey()))
			} else if element.HasIndex() {
				at = append(at, int(element.GetIndex()))
			}
		}
		if IsOneof(v) {
			at = at[:len(at)-1] // its name is not in the file
		}
		list = append(list, Problem{At: at, isKey: v.Proto.GetForKey(), rule: v})
	}
	return list, nil
}

// IsOneof says whether the rule is that one field of a oneof is set. The last
// name of its path is then the oneof's, which has no number.
func IsOneof(v *protovalidate.Violation) bool {
	elements := v.Proto.GetField().GetElements()
	return v.Proto.GetRuleId() == "required" && len(elements) > 0 && !elements[len(elements)-1].HasFieldNumber()
}
