package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const suffix = ".jsonschema.json"

// messages are the schemas of some messages and of all that they hold, by their
// names, as ProtoJSON writes them.
func messages(dir string, names []protoreflect.FullName) (object, error) {
	all := object{}
	for next := names; len(next) > 0; next = next[1:] {
		name := string(next[0])
		if _, known := all[name]; known {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name+suffix)) //nolint:gosec // whoever runs this names the directory
		if err != nil {
			return nil, err
		}
		var schema object
		if err := json.Unmarshal(text, &schema); err != nil {
			return nil, err
		}
		delete(schema, "$id")
		delete(schema, "$schema")
		// protoc-gen-jsonschema means ISO 8601's durations.
		if name == "google.protobuf.Duration" {
			delete(schema, "format")
			schema["pattern"] = `^-?[0-9]+(\.[0-9]{1,9})?s$`
		}
		all[name] = schema
		for _, held := range refer(schema) {
			next = append(next, protoreflect.FullName(held))
		}
	}
	return all, nil
}

// refer has a schema refer to the document's others, and returns their names. What
// is about reading other spellings of a field is taken out: one name is enough.
func refer(v any) (names []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			names = append(names, refer(item)...)
		}
	case object:
		delete(v, "patternProperties")
		if text, ok := v["description"].(string); ok {
			v["description"] = strings.ReplaceAll(text, "\n ", "\n")
		}
		if to, ok := v["$ref"].(string); ok && strings.HasSuffix(to, suffix) {
			name := strings.TrimSuffix(to, suffix)
			v["$ref"] = place + name
			names = append(names, name)
		}
		for _, member := range v {
			names = append(names, refer(member)...)
		}
	}
	return names
}
