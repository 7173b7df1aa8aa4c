package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const root = "jotsmith.config.v1.Config"

// writePage writes the reference of the configuration file from the comments of
// its messages.
func writePage(data []byte, w io.Writer) error {
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil {
		return err
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return err
	}
	descriptor, err := files.FindDescriptorByName(root)
	if err != nil {
		return err
	}
	message, ok := descriptor.(protoreflect.MessageDescriptor)
	if !ok {
		return fmt.Errorf("%s is no message", root)
	}
	page := &page{out: bufio.NewWriter(w), seen: map[protoreflect.FullName]bool{}}
	page.print("<!-- Generated from proto/jotsmith/config/v1/config.proto; edit that and run `make generate`. -->\n\n")
	page.print("# Configuration\n\n")
	page.print("One YAML file, read strictly: an unknown or duplicate key, an anchor or a second\n" +
		"document is refused. `jotsmith config check FILE` prints every problem with its\n" +
		"line and column; `jotsmith config schema` prints the JSON Schema for editors.\n" +
		"Durations are written as `90s`, `10m` or `1h30m`.\n")
	page.message(message)
	return page.out.Flush()
}

// page writes one section for each message that the root leads to, in the
// order in which a reader meets them.
type page struct {
	out  *bufio.Writer
	seen map[protoreflect.FullName]bool
}

func (p *page) print(text string) {
	_, _ = p.out.WriteString(text) // Flush returns the error
}

func (p *page) message(m protoreflect.MessageDescriptor) {
	if p.seen[m.FullName()] {
		return
	}
	p.seen[m.FullName()] = true
	p.print("\n## " + string(m.Name()) + "\n\n" + comment(m) + "\n")
	var below []protoreflect.MessageDescriptor
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		p.print("\n- **`" + string(field.Name()) + "`** (" + typeOf(field) + choice(field) + ")\n\n" + indent(comment(field)) + "\n")
		if value := valueOf(field); value != nil && value.ParentFile().Package() == m.ParentFile().Package() {
			below = append(below, value)
		}
	}
	for _, next := range below {
		p.message(next)
	}
}

// valueOf returns the message that a field, or a map's value, is; nil for any
// other type.
func valueOf(field protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if field.IsMap() {
		return field.MapValue().Message()
	}
	return field.Message()
}

func typeOf(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return "map of names to " + scalar(field.MapValue())
	case field.IsList():
		return "list of " + scalar(field)
	default:
		return scalar(field)
	}
}

func scalar(field protoreflect.FieldDescriptor) string {
	message := field.Message()
	switch {
	case message == nil:
		return field.Kind().String()
	case message.FullName() == "google.protobuf.Duration":
		return "duration"
	case message.FullName() == "google.protobuf.Value":
		return "any value"
	default:
		name := string(message.Name())
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	}
}

// choice says that only one of several fields can be set.
func choice(field protoreflect.FieldDescriptor) string {
	oneof := field.ContainingOneof()
	if oneof == nil || oneof.IsSynthetic() {
		return ""
	}
	var others []string
	for i := range oneof.Fields().Len() {
		if other := oneof.Fields().Get(i); other != field {
			others = append(others, "`"+string(other.Name())+"`")
		}
	}
	return ", or else " + strings.Join(others, ", ")
}

// comment returns a descriptor's leading comment as Markdown.
func comment(d protoreflect.Descriptor) string {
	lines := strings.Split(strings.TrimSpace(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(strings.TrimPrefix(line, " "), " ")
	}
	return strings.Join(lines, "\n")
}

// indent puts text under a list's item.
func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}
