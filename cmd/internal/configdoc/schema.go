package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
)

// duration is how the file writes a duration; protoc-gen-jsonschema means
// ISO 8601's.
const duration = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`

// writeSchema narrows protoc-gen-jsonschema's schema to what the file's reader
// takes: a field under its own name alone, a number as a number, durations as
// Go writes them, and nothing that is for presets.
func writeSchema(data []byte, w io.Writer) error {
	var bundle struct {
		ID     string                    `json:"$id"`
		Schema string                    `json:"$schema"`
		Ref    string                    `json:"$ref"`
		Defs   map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(data, &bundle); err != nil {
		return err
	}
	for name, def := range bundle.Defs {
		delete(def, "patternProperties") // the same fields, under their JSON names
		properties, _ := def["properties"].(map[string]any)
		for _, property := range properties {
			numbersAsNumbers(property)
		}
		switch name {
		case "google.protobuf.Duration.schema.json":
			delete(def, "format")
			def["pattern"] = duration
		case "jotsmith.config.v1.ClaimRule.schema.json":
			delete(properties, "configured")
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(bundle); err != nil {
		return err
	}
	_, err := out.WriteTo(w)
	return err
}

// numbersAsNumbers takes away that a number may be written as text too.
func numbersAsNumbers(property any) {
	schema, ok := property.(map[string]any)
	if !ok {
		return
	}
	choices, ok := schema["anyOf"].([]any)
	if !ok || len(choices) != 2 {
		return
	}
	number, ok := choices[0].(map[string]any)
	if !ok || number["type"] != "integer" {
		return
	}
	delete(schema, "anyOf")
	maps.Copy(schema, number)
}
