package strictyaml

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape compares the nodes of a file with a message: every name is a field's in
// its proto, every value is what the field takes. It accepts less than YAML and
// protoyaml do, so that a file has one reading: a field stands once, under one
// name; there are no anchors, aliases, merges or tags; nothing is null; a number
// is decimal.
type shape struct {
	faults []fault
	hidden string // the field that is not named
}

func checkShape(root *yaml.Node, message protoreflect.MessageDescriptor, hidden string) []fault {
	s := shape{hidden: hidden}
	if s.plain(root); len(s.faults) == 0 {
		s.message(root, message)
	}
	return s.faults
}

func (s *shape) add(node *yaml.Node, format string, args ...any) {
	s.faults = append(s.faults, fault{node.Line, node.Column, fmt.Sprintf(format, args...)})
}

// plain refuses what YAML allows anywhere and no field takes. It looks before
// the rest, for an alias can make a small file a huge one.
func (s *shape) plain(node *yaml.Node) {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		s.add(node, "anchors and aliases are not accepted; write the value out")
		return
	case node.Style&yaml.TaggedStyle != 0:
		s.add(node, "tags such as %.32s are not accepted; quote a text, and leave a number bare", node.Tag)
	case node.Kind == yaml.MappingNode:
		s.names(node)
	}
	for _, child := range node.Content {
		s.plain(child)
	}
}

// names refuses names that are not text or stand twice.
func (s *shape) names(mapping *yaml.Node) {
	first := map[string]int{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		node := mapping.Content[i]
		switch line, twice := first[node.Value]; {
		case node.Kind == yaml.AliasNode:
			continue // plain says so
		case node.Kind != yaml.ScalarNode || isNull(node):
			s.add(node, "a name has to be a word")
			continue
		case node.Tag == "!!merge":
			s.add(node, "the merge key << is not accepted; write the fields out")
		case twice:
			s.add(node, "%q stands twice; the first is at line %d", node.Value, line)
		}
		first[node.Value] = node.Line
	}
}

func (s *shape) message(node *yaml.Node, message protoreflect.MessageDescriptor) {
	if node.Kind != yaml.MappingNode {
		s.add(node, "%s; expected a mapping of %s", found(node), s.fieldNames(message))
		return
	}
	set := map[protoreflect.FullName]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		field := message.Fields().ByTextName(name.Value)
		if field == nil {
			s.add(name, "unknown field %q; %s", name.Value, s.suggestion(name.Value, message))
			continue
		}
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if other, ok := set[oneof.FullName()]; ok {
				s.add(name, "only one of %s and %s can be set here", other, name.Value)
			}
			set[oneof.FullName()] = name.Value
		}
		s.field(value, name, field)
	}
}

// field compares the value of a field; name is its key.
func (s *shape) field(node, name *yaml.Node, field protoreflect.FieldDescriptor) {
	switch {
	case isNull(node) && (node.Value == "" || field.Message() == nil || field.Message().FullName() != "google.protobuf.Value"):
		s.add(name, "%s has no value; give it one or remove it", name.Value)
	case field.IsMap():
		if node.Kind != yaml.MappingNode {
			s.add(node, "%s; expected a mapping of the names of %s", found(node), name.Value)
			return
		}
		if most := fieldRules(field).GetMap().GetMaxPairs(); tooMany(len(node.Content)/2, most) {
			s.add(name, "%s has more than %d items", name.Value, most)
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			s.field(node.Content[i+1], node.Content[i], field.MapValue())
		}
	case field.IsList():
		if node.Kind != yaml.SequenceNode {
			s.add(node, "%s; expected a list, as in [a, b]", found(node))
			return
		}
		if most := fieldRules(field).GetRepeated().GetMaxItems(); tooMany(len(node.Content), most) {
			s.add(name, "%s has more than %d items", name.Value, most)
			return
		}
		for _, item := range node.Content {
			if isNull(item) {
				s.add(item, "an item has no value; give it one or remove it")
				continue
			}
			s.single(item, field)
		}
	default:
		s.single(node, field)
	}
}

// fieldRules returns the rules of a field in its proto. How many items it takes
// is looked at here already, because the other rules are asked of every item.
func fieldRules(field protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

func tooMany(items int, most uint64) bool { return most > 0 && uint64(items) > most }

// single compares one value that is neither map nor list.
func (s *shape) single(node *yaml.Node, field protoreflect.FieldDescriptor) {
	if message := field.Message(); message != nil {
		switch message.FullName() {
		case "google.protobuf.Value":
			s.json(node)
		case "google.protobuf.Duration":
			if _, err := protoyaml.ParseDuration(node.Value); err != nil || node.Kind != yaml.ScalarNode {
				s.add(node, "%s is not a duration such as 90s, 15m or 24h", shown(node))
			}
		default:
			s.message(node, message)
		}
		return
	}
	if node.Kind != yaml.ScalarNode {
		s.add(node, "%s; expected a single value", found(node))
		return
	}
	switch field.Kind() {
	case protoreflect.BoolKind:
		if node.Tag != "!!bool" || node.Value != "true" && node.Value != "false" {
			s.add(node, "%s is neither true nor false", shown(node))
		}
	case protoreflect.Uint32Kind:
		if _, err := strconv.ParseUint(node.Value, 10, 32); err != nil || !decimal.MatchString(node.Value) {
			s.add(node, "%s is not a whole number from 0 to 4294967295", shown(node))
		}
	case protoreflect.Int64Kind:
		if _, err := strconv.ParseInt(node.Value, 10, 64); err != nil || !decimal.MatchString(node.Value) {
			s.add(node, "%s is not a whole number of 64 bits", shown(node))
		}
	case protoreflect.StringKind: // any word
	default:
		s.add(node, "a field of type %s cannot be read", field.Kind()) // none is in the proto
	}
}

var (
	decimal = regexp.MustCompile(`\A-?(?:0|[1-9][0-9]*)\z`)
	// float is a number with a fraction or an exponent as JSON has it.
	float = regexp.MustCompile(`\A-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\z`)
)

// maxSafeInteger is the greatest integer that a float64, and so every reader of
// JSON, holds exactly (RFC 7493 section 2.2).
const maxSafeInteger = 1<<53 - 1

// json compares a value that is to be JSON: no scalar that YAML reads otherwise
// than it is written.
func (s *shape) json(node *yaml.Node) {
	if node.Kind != yaml.ScalarNode {
		for _, child := range node.Content {
			s.json(child)
		}
		return
	}
	switch node.Tag {
	case "!!null":
		if node.Value == "" {
			s.add(node, "a value is missing; write null if it is meant")
		} else if node.Value != "null" {
			s.add(node, "%s is not clear; write null, or \"%s\" in quotes for the text", node.Value, node.Value)
		}
	case "!!bool":
		if node.Value != "true" && node.Value != "false" {
			s.add(node, "%s is not clear; write true or false, or \"%s\" in quotes for the text", node.Value, node.Value)
		}
	case "!!int", "!!float":
		if n, err := strconv.ParseInt(node.Value, 10, 64); decimal.MatchString(node.Value) && (err != nil || n > maxSafeInteger || n < -maxSafeInteger) {
			s.add(node, "an integer is beyond 2^53-1 and would be read differently by different readers; put it in quotes")
		} else if _, err := strconv.ParseFloat(node.Value, 64); err != nil || !float.MatchString(node.Value) {
			s.add(node, "%.32s is not a number that JSON has; write it in decimal, or in quotes for the text", node.Value)
		}
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// found describes a node that has another shape than it should.
func found(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "found a mapping"
	case yaml.SequenceNode:
		return "found a list"
	default:
		return "found a single value"
	}
}

// shown is a short value as it stands in a message.
func shown(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode || len(node.Value) > 32 {
		return "this"
	}
	return strconv.Quote(node.Value)
}

func (s *shape) fieldNames(message protoreflect.MessageDescriptor) string {
	var names []string
	for i := range message.Fields().Len() {
		if name := message.Fields().Get(i).TextName(); name != s.hidden {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// suggestion helps with an unknown field.
func (s *shape) suggestion(name string, message protoreflect.MessageDescriptor) string {
	best, least := "", min(3, 1+len(name)/3)
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if d := distance(strings.ToLower(strings.ReplaceAll(name, "-", "_")), field.TextName()); d < least {
			best, least = field.TextName(), d
		}
		if name == field.JSONName() {
			best, least = field.TextName(), 0
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "there is " + s.fieldNames(message)
}

// distance is the number of letters to insert, remove or replace between two
// words (Levenshtein's), or 3 for words of very different length.
func distance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, replace)
		}
	}
	return row[len(b)]
}
