// Package strictyaml reads a YAML file into a proto message in the one way that
// it can be read, and says of every problem where it is and what to do.
package strictyaml

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

// Options says what a file is checked for beyond its proto, and in which words.
type Options struct {
	// Check, if set, says what no rule in the proto can, of a message that keeps
	// them all.
	Check func() []Problem
	// Mend says what is wrong with a field that breaks a rule in the proto, and
	// what to write instead; there says whether the field is in the file.
	Mend func(broken *protovalidate.Violation, there bool) string
	// Hidden is the name of a field that no message names to the user.
	Hidden string
}

// Decode reads one YAML document into message, in three steps of which each
// needs the one before: the shape of the file (shape.go), the rules in the
// proto, and Options.Check. name stands for the file. The error lists every
// problem of the first step that finds any, in the order of the file, each as
// path:line:column text.
func Decode(name string, data []byte, message proto.Message, opts Options) error {
	root, err := document(name, data)
	if err != nil {
		return err
	}
	faults := checkShape(root, message.ProtoReflect().Descriptor(), opts.Hidden)
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
	if len(problems) == 0 && opts.Check != nil {
		problems = opts.Check()
	}
	for _, p := range problems {
		node, there := find(root, p.At, p.isKey)
		text := p.Text
		if p.rule != nil {
			text = opts.Mend(p.rule, there)
		}
		faults = append(faults, fault{node.Line, node.Column, p.At.String() + ": " + text})
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
