package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// scenario is one entry of scenarios.yaml.
type scenario struct {
	// Name is the row of the matrix.
	Name string
	// Says is what a library does.
	Says string
	// Plugs plays the scenario once with each plug of that kind, `http` or `grpc`.
	Plugs string
	Steps []step
}

// step is one step: an operation, and what is to be seen of it.
type step struct {
	// As keeps the answer by a name.
	As string
	// Begin goes on without waiting for the answer; `finish` waits for it by As.
	Begin bool
	// Expect is what the answer has to contain; an `error` that is not expected
	// fails the step.
	Expect map[string]any
	// Took bounds the time, as in [200ms, 1s].
	Took []duration
	// Distinct is how many different tokens the answer has.
	Distinct int
	// Operation is the rest: one name with its arguments.
	Operation map[string]yaml.Node `yaml:",inline"`
}

// duration is written as Go writes one.
type duration struct{ time.Duration }

func (d *duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// readScenarios reads the scenarios, strictly.
func readScenarios(path string) ([]scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []scenario
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&all); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, s := range all {
		if s.Name == "" || s.Says == "" || len(s.Steps) == 0 || seen[s.Name] {
			return nil, fmt.Errorf("scenario %q lacks something, or is there twice", s.Name)
		}
		seen[s.Name] = true
		for i, step := range s.Steps {
			if len(step.Operation) != 1 {
				return nil, fmt.Errorf("scenario %q, step %d: not one operation", s.Name, i+1)
			}
		}
	}
	return all, nil
}

// operation is the name of a step's operation and what it is done with.
func (s *step) operation() (string, *yaml.Node) {
	for name, arguments := range s.Operation {
		return name, &arguments
	}
	return "", nil
}

// arguments reads the arguments of a driver's command. `native` is a JSON text whose
// value is given to the library as its language's own.
func arguments(node *yaml.Node, fill func(string) string) (map[string]any, error) {
	read := map[string]any{}
	if err := node.Decode(&read); err != nil {
		return nil, err
	}
	filled, ok := filled(read, fill).(map[string]any)
	if !ok {
		return nil, errors.New("arguments are no map")
	}
	if text, ok := filled["native"].(string); ok {
		delete(filled, "native")
		filled["claims"] = json.RawMessage(text)
	}
	return filled, nil
}

// filled is a copy of a value with the variables in its texts replaced. The scenarios
// themselves are everybody's.
func filled(v any, fill func(string) string) any {
	switch v := v.(type) {
	case string:
		return fill(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = filled(v[i], fill)
		}
		return list
	case map[string]any:
		members := make(map[string]any, len(v))
		for name := range v {
			members[name] = filled(v[name], fill)
		}
		return members
	}
	return v
}
