package config

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each vendor makes the kid, or the verifier is told it with the public key.
func TestPresetsSayWhetherTheConsumerGivesTheKID(t *testing.T) {
	presets, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	given := map[bool]int{}
	for name, preset := range presets {
		vendor := preset.GetRevocationUrl() != "" || strings.HasPrefix(name, "apple/")
		if preset.GetConsumerGivesKid() != vendor {
			t.Errorf("%s: consumer_gives_kid is %t", name, preset.GetConsumerGivesKid())
		}
		given[vendor]++
	}
	if given[true] < 13 || given[false] < 3 {
		t.Errorf("looked at %v", given)
	}
}

func TestEveryPresetIsOneThatProfilesCanStartFrom(t *testing.T) {
	presets, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = fs.WalkDir(presetFiles, "presets", func(_ string, entry fs.DirEntry, err error) error {
		if !entry.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != len(presets) {
		t.Errorf("%d files, %d presets, %v", files, len(presets), err)
	}
	for name, preset := range presets {
		if preset.GetProfile().GetDescription() == "" {
			t.Errorf("%s: no description", name)
		}
		for _, source := range preset.GetSources() {
			if !strings.HasPrefix(source, "https://") {
				t.Errorf("%s: source %s", name, source)
			}
		}
		rules := maps.Clone(preset.GetProfile().GetClaims())
		for header, rule := range preset.GetProfile().GetHeader() {
			rules["header."+header] = rule
		}
		for value, variant := range preset.GetVariants().GetValues() {
			for claim, rule := range variant.GetClaims() {
				rules[value+"."+claim] = rule
			}
		}
		for claim, rule := range rules {
			if !strings.HasPrefix(rule.GetDoc(), "https://") {
				t.Errorf("%s: %s has no doc", name, claim)
			}
		}
	}
}

// named finds presets in documents and examples: `preset: jwt`.
var named = regexp.MustCompile("(?m)preset: [\"']?([a-z][a-z0-9/_-]*)[\"']? *(?:[,}]|$)")

func TestEveryPresetNamedInTheDocumentsExists(t *testing.T) {
	presets, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"README.md", "proto/jotsmith/config/v1/config.proto"}
	err = filepath.WalkDir(root("docs"), func(file string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(file) == ".md" && !entry.IsDir() {
			rel, relErr := filepath.Rel(root(), file)
			files, err = append(files, rel), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(root(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllSubmatch(data, -1) {
			if presets[string(m[1])] == nil {
				t.Errorf("%s names the preset %q, which is not there", file, m[1])
			}
		}
	}
}

// root returns a path in the repository.
func root(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", ".."}, parts...)...)
}

func profilesDocument(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(root("docs", "profiles.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEveryPresetHasItsSectionInTheDocument(t *testing.T) {
	presets, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	doc := profilesDocument(t)
	for name := range presets {
		if !strings.Contains(doc, "\n## "+name+"\n") {
			t.Errorf("docs/profiles.md has no section %s", name)
		}
		if !strings.Contains(doc, "preset: "+name+"\n") {
			t.Errorf("docs/profiles.md has no profile of the preset %s", name)
		}
	}
}

// keyName finds the keys that a profile in a document names.
var keyName = regexp.MustCompile(`(?m)\bkey: ([a-z0-9.-]+)`)

// A reader pastes these.
func TestProfilesInTheDocumentAreGood(t *testing.T) {
	blocks := indented(profilesDocument(t), "profiles:\n")
	if len(blocks) < 10 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		keys := map[string]bool{}
		text := "listeners: [{unix: {path: /run/jotsmith.sock}}]\nbackends: {files: {uri: \"file:/etc/jotsmith/keys\"}}\nkeys:\n"
		for _, m := range keyName.FindAllStringSubmatch(block, -1) {
			if !keys[m[1]] {
				text += "  " + m[1] + ": {backend: files, id: " + m[1] + ".p8, kid: " + m[1] + "}\n"
			}
			keys[m[1]] = true
		}
		if _, err := Parse("profiles.md", []byte(text+block), checkURI); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
}

// indented returns the code blocks of a document that begin with a line.
func indented(doc, begin string) []string {
	var blocks []string
	block := ""
	for line := range strings.Lines(doc + "\n.\n") {
		code, ok := strings.CutPrefix(line, "    ")
		switch {
		case ok:
			block += code
		case strings.TrimSpace(line) == "" && block != "":
			block += "\n"
		default:
			if strings.HasPrefix(block, begin) {
				blocks = append(blocks, block)
			}
			block = ""
		}
	}
	return blocks
}
