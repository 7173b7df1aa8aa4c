package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
	"github.com/jotsmith/jotsmith/service/claims"
)

func newProfileShow() *cobra.Command {
	var file, output string
	cmd := &cobra.Command{
		Use:   "show P",
		Short: "Say in words what a preset, or a profile of a file, demands",
		Long: `Print the rules of the preset P in words: where each header parameter and claim
comes from and which document demands it, the limits and the reuse, then the
preset's own file and a profile that starts from it, ready to be copied.

With --config FILE, P is a profile of that configuration; the rules are those of
the profile together with its preset.

"jotsmith profile list --presets" lists the presets.`,
		Example: `  jotsmith profile show apple/app-store-connect-team
  jotsmith profile show jwt -o yaml
  jotsmith profile show asc --config /etc/jotsmith/jotsmith.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" && output != "yaml" {
				return fail(exitUsage, fmt.Errorf("--output is text, json or yaml, not %q", output))
			}
			show := showPreset
			if file != "" {
				show = func(name string) (shownProfile, error) { return showProfile(name, file, cmd.InOrStdin()) }
			}
			p, err := show(args[0])
			if err != nil {
				return err
			}
			return fail(exitFailure, p.print(cmd.OutOrStdout(), output))
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "show a profile of this configuration; - reads standard input")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json for the rules and limits, or yaml for the file alone")
	return cmd
}

// shownProfile is what `jotsmith profile show` prints.
type shownProfile struct {
	Name        string     `json:"name"`
	Preset      string     `json:"preset,omitzero"` // of a profile
	Description string     `json:"description,omitzero"`
	Key         string     `json:"key,omitzero"` // of a profile
	KID         string     `json:"kid,omitzero"`
	Sources     []string   `json:"sources,omitzero"` // of a preset
	Decisions   []decision `json:"decisions"`
	Limits      []string   `json:"limits"`

	title   string // of the YAML
	yaml    string
	example string // of a preset
}

// showPreset describes a preset that is built in.
func showPreset(name string) (shownProfile, error) {
	presets, err := config.Presets()
	if err != nil {
		return shownProfile{}, fail(exitFailure, err)
	}
	if _, ok := presets[name]; !ok {
		return shownProfile{}, unknown("preset", name, slices.Sorted(maps.Keys(presets)), "jotsmith profile list --presets")
	}
	d, err := config.Describe(name)
	if err != nil {
		return shownProfile{}, fail(exitFailure, err)
	}
	text, err := config.PresetYAML(name)
	if err != nil {
		return shownProfile{}, fail(exitFailure, err)
	}
	return shownProfile{
		Name: name, Description: d.Description, Sources: d.Sources,
		Decisions: decisionsOf(d.Decisions), Limits: d.Limits,
		title: "the preset's own file", yaml: string(text), example: d.Example,
	}, nil
}

// showProfile describes a profile of a configuration, with what its preset adds.
func showProfile(name, file string, stdin io.Reader) (shownProfile, error) {
	cfg, text, err := readConfig(file, stdin)
	if err != nil {
		return shownProfile{}, err
	}
	p, err := profileOf(cfg, file, name)
	if err != nil {
		return shownProfile{}, err
	}
	if file == "-" {
		file = "standard input"
	}
	own, err := profileYAML(text, name)
	if err != nil {
		return shownProfile{}, fail(exitFailure, err)
	}
	return shownProfile{
		Name: name, Preset: cfg.GetProfiles()[name].GetPreset(), Description: p.Description,
		Key: p.Key, KID: cfg.GetKeys()[p.Key].GetKid(),
		Decisions: decisionsOf(p.Decisions()), Limits: p.Limits(),
		title: "the profile in " + file, yaml: own,
	}, nil
}

func decisionsOf(decisions []claims.Decision) []decision {
	list := make([]decision, len(decisions))
	for i, d := range decisions {
		list[i] = decision(d)
	}
	return list
}

// profileYAML returns a profile of a configuration as it stands there, with its
// comments.
func profileYAML(text []byte, name string) (string, error) {
	var file struct {
		Profiles yaml.Node `yaml:"profiles"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return "", err
	}
	entries := file.Profiles.Content
	for i := 0; i+1 < len(entries); i += 2 {
		if entries[i].Value != name {
			continue
		}
		if file.Profiles.Style&yaml.FlowStyle != 0 { // the profile may share its lines with others
			return rewritten(entries[i], entries[i+1])
		}
		return "profiles:\n" + block(strings.Split(string(text), "\n"), entries[i].Line-1, entries[i].Column-1), nil
	}
	return "", errors.New("the configuration changed while it was read")
}

// block returns the lines of an entry of a block mapping whose name stands at a
// line and column, both counted from 0, indented by two blanks. The comment
// ahead of it is part of it.
func block(lines []string, first, column int) string {
	blank := func(line string) bool { return strings.TrimSpace(line) == "" }
	comment := func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }
	deep := func(line string) bool { return len(line)-len(strings.TrimLeft(line, " ")) > column }
	end := first + 1
	for i := end; i < len(lines); i++ {
		if deep(lines[i]) && !blank(lines[i]) {
			end = i + 1
		} else if !blank(lines[i]) && !comment(lines[i]) {
			break
		}
	}
	for first > 0 && comment(lines[first-1]) {
		first--
	}
	var b strings.Builder
	for _, line := range lines[first:end] {
		line = strings.TrimRight(line, " \r")
		if cut := min(column, len(line)-len(strings.TrimLeft(line, " "))); line != "" {
			line = "  " + line[cut:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// rewritten writes a profile anew.
func rewritten(name, profile *yaml.Node) (string, error) {
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	mapping := func(content ...*yaml.Node) *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Content: content} }
	whole := mapping(&yaml.Node{Kind: yaml.ScalarNode, Value: "profiles"}, mapping(name, profile))
	if err := encoder.Encode(whole); err != nil {
		return "", err
	}
	return b.String(), encoder.Close()
}

func (s shownProfile) print(w io.Writer, output string) error {
	switch output {
	case "yaml":
		_, err := io.WriteString(w, s.yaml)
		return err
	case "json":
		return printJSON(w, s)
	}
	p := &page{w: w}
	kind := "preset      "
	if s.example == "" {
		kind = "profile     "
	}
	p.line("%s%s", kind, s.Name)
	for _, fact := range [][2]string{{"is for      ", s.Description}, {"preset      ", s.Preset}, {"key         ", s.Key}, {"kid         ", s.KID}} {
		if fact[1] != "" {
			p.line("%s%s", fact[0], fact[1])
		}
	}
	p.decisions(s.Decisions, s.Sources, false)
	p.list("limits and reuse", s.Limits)
	p.yaml(s.title, s.yaml)
	if s.example != "" {
		p.yaml("a profile that starts from it, with values to replace", s.example)
	}
	return p.err
}
