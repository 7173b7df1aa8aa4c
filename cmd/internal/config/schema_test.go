package config

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// The editor's schema and the reader agree on every good file, and the schema
// finds what an editor should.
func TestSchemaAcceptsWhatTheReaderDoes(t *testing.T) {
	schema := compiledSchema(t)
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("good files: %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, bad := range map[string]string{
		"unknown field":   "listeners: []\nlistenerz: []",
		"JSON name":       "profiles: {p: {key: k, preset: jwt, maxTtl: 5m}}",
		"preset's source": "profiles: {p: {key: k, preset: jwt, claims: {iss: {configured: {}}}}}",
		"ISO duration":    "profiles: {p: {key: k, preset: jwt, max_ttl: PT5M}}",
		"number as text":  "grants: [{name: g, profiles: [p], callers: [{unix: {uid: \"1\"}}]}]",
		"unknown type":    "profiles: {p: {key: k, preset: jwt, claims: {a: {caller: {type: float}}}}}",
	} {
		if schema.Validate(instance(t, []byte(bad))) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func instance(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
