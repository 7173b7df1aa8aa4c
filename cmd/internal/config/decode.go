package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buf.build/go/protovalidate"
	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// decode reads one YAML document into message, in three steps of which each
// needs the one before: the shape of the file (shape.go), the rules in the
// proto, and check, which if not nil says what no rule can. The error lists
// every problem of the first step that finds any, in the order of the file.
func decode(name string, data []byte, message proto.Message, check func() []problem) error {
	root, err := document(name, data)
	if err != nil {
		return err
	}
	faults := checkShape(root, message.ProtoReflect().Descriptor())
	if len(faults) > 0 {
		return report(name, faults)
	}
	if err := (protoyaml.UnmarshalOptions{Path: name}).Unmarshal(data, message); err != nil {
		return errors.New(strings.TrimRight(err.Error(), "\n")) // checkShape has found all that it can find
	}
	problems, err := brokenRules(message)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(problems) == 0 && check != nil {
		problems = check()
	}
	for _, p := range problems {
		node, there := find(root, p.at, p.isKey)
		text := p.text
		if p.rule != nil {
			text = mend(p.rule, there)
		}
		faults = append(faults, fault{node.Line, node.Column, p.at.String() + ": " + text})
	}
	return report(name, faults)
}

// yamlLine is how the parser says where a syntax error is.
var yamlLine = regexp.MustCompile(`\Ayaml: (?:line (\d+): )?(?s:(.*))\z`)

// document returns the mapping that the file is.
func document(name string, data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, report(name, []fault{{1, 1, "the file is empty"}})
	case err != nil:
		line, text := 1, err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			text = m[2]
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = n
			}
		}
		return nil, report(name, []fault{{line, 1, "not YAML: " + text}})
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, report(name, []fault{{max(second.Line, 1), max(second.Column, 1), "a second YAML document begins; keep one"}})
	}
	root := first.Content[0]
	if isNull(root) {
		return nil, report(name, []fault{{1, 1, "the file is empty"}})
	}
	return root, nil
}

// fault is a problem and its place in the file.
type fault struct {
	line, column int
	text         string
}

// maxReported is how many faults an error lists, and maxText how long a fault's
// text is.
const (
	maxReported = 100
	maxText     = 500
)

// report joins faults as path:line:column text, each once and in the order of
// the file. It never shows the line itself: a PIN may have been put there.
func report(name string, faults []fault) error {
	slices.SortFunc(faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), strings.Compare(a.text, b.text))
	})
	var errs []error
	faults = slices.Compact(faults)
	for i, f := range faults {
		if i == maxReported {
			errs = append(errs, fmt.Errorf("%s:%d:%d and %d more problems from here on", name, f.line, f.column, len(faults)-i))
			break
		}
		if len(f.text) > maxText {
			f.text = strings.ToValidUTF8(f.text[:maxText], "") + "..."
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d %s", name, f.line, f.column, f.text))
	}
	return errors.Join(errs...)
}

// A path leads to a field: a string is the name of a field, a key or an int
// what stands below the map or list before it.
type (
	path []any
	key  string
)

// with returns the path with more steps.
func (at path) with(steps ...any) path { return append(slices.Clip(at), steps...) }

// plainKey is a key that needs no quotes in a path.
var plainKey = regexp.MustCompile(`\A[A-Za-z0-9_-]+\z`)

// String writes the path as in keys.apple.kid or grants[0].profiles[1].
func (at path) String() string {
	var b strings.Builder
	for i, step := range at {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
			continue
		case key:
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
func find(root *yaml.Node, at path, isKey bool) (node *yaml.Node, there bool) {
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

// problem is something wrong with a field.
type problem struct {
	at    path
	isKey bool                     // it is about a map's key, not its value
	text  string                   // what is wrong and the mend
	rule  *protovalidate.Violation // the broken rule, in the place of text
}

// problems collects what the checks find.
type problems struct{ list []problem }

func (p *problems) add(at path, format string, args ...any) {
	p.list = append(p.list, problem{at: at, text: fmt.Sprintf(format, args...)})
}

// brokenRules returns the rules in the proto that the message breaks.
func brokenRules(message proto.Message) ([]problem, error) {
	err := protovalidate.Validate(message)
	var broken *protovalidate.ValidationError
	if err == nil {
		return nil, nil
	} else if !errors.As(err, &broken) {
		return nil, err
	}
	var list []problem
	for _, v := range broken.Violations {
		var at path
		for _, element := range v.Proto.GetField().GetElements() {
			at = append(at, element.GetFieldName())
			if element.HasStringKey() {
				at = append(at, key(element.GetStringKey()))
			} else if element.HasIndex() {
				at = append(at, int(element.GetIndex()))
			}
		}
		if isOneof(v) {
			at = at[:len(at)-1] // its name is not in the file
		}
		list = append(list, problem{at: at, isKey: v.Proto.GetForKey(), rule: v})
	}
	return list, nil
}
