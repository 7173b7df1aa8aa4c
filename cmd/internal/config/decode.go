package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// decode reads one YAML document into message: no unknown or duplicate keys,
// no anchors or aliases, and every rule of the message kept. validator, if not
// nil, adds what no rule can say.
func decode(name string, data []byte, message proto.Message, validator protoyaml.Validator) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("%s:1:1 the file is empty", name)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: a second YAML document follows the first; keep one", name)
	}
	if problems := plain(name, &document); len(problems) > 0 {
		return errors.Join(problems...)
	}
	if validator == nil {
		validator = rules{}
	}
	err := protoyaml.UnmarshalOptions{Path: name, Validator: validator}.Unmarshal(data, message)
	if err != nil {
		return errors.New(strings.TrimRight(err.Error(), "\n"))
	}
	return nil
}

// plain lists what YAML allows and this file does not: anchors and aliases,
// which can make a small file a huge one, and duplicate keys.
func plain(name string, node *yaml.Node) []error {
	var problems []error
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		return []error{fmt.Errorf("%s:%d:%d anchors and aliases are not accepted; write the value out", name, node.Line, node.Column)}
	}
	if node.Kind == yaml.MappingNode {
		first := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if line, ok := first[key.Value]; ok {
				problems = append(problems, fmt.Errorf("%s:%d:%d key %q stands twice; the first is at line %d", name, key.Line, key.Column, key.Value, line))
			}
			first[key.Value] = key.Line
		}
	}
	for _, child := range node.Content {
		problems = append(problems, plain(name, child)...)
	}
	return problems
}

// rules checks a message against the rules in its proto alone.
type rules struct{}

func (rules) Validate(message proto.Message) error { return protovalidate.Validate(message) }

// problems collects violations that protoyaml then finds the place of.
type problems struct{ list []*protovalidate.Violation }

// A path names a field: strings are fields, a key or an int the subscript of
// the field before it.
type (
	path []any
	key  string
)

// add notes a problem; rule is its short name in the message's brackets.
func (p *problems) add(at path, rule, format string, args ...any) {
	var elements []*validate.FieldPathElement
	for _, step := range at {
		switch step := step.(type) {
		case string:
			elements = append(elements, &validate.FieldPathElement{FieldName: &step})
		case key:
			elements[len(elements)-1].Subscript = &validate.FieldPathElement_StringKey{StringKey: string(step)}
		case int:
			elements[len(elements)-1].Subscript = &validate.FieldPathElement_Index{Index: uint64(step)}
		}
	}
	message := fmt.Sprintf(format, args...)
	p.list = append(p.list, &protovalidate.Violation{Proto: &validate.Violation{
		Field: &validate.FieldPath{Elements: elements}, RuleId: &rule, Message: &message,
	}})
}

// err returns the problems as protoyaml takes them.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &protovalidate.ValidationError{Violations: p.list}
}

// with returns the path with more steps.
func (at path) with(steps ...any) path { return append(at[:len(at):len(at)], steps...) }
