package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// examples checks every example of a page in docs: those of this server's
// configuration as the server would, which are returned, those of other systems
// as YAML.
func examples(t *testing.T, page string) []*Config {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var ours []*Config
	for i, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllSubmatch(text, -1) {
		if !strings.HasPrefix(string(block[1]), "listeners:") {
			if err := yaml.Unmarshal(block[1], new(any)); err != nil {
				t.Errorf("example %d: %v", i+1, err)
			}
			continue
		}
		c, err := Parse(fmt.Sprintf("example-%d.yaml", i+1), block[1], checkURI)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, c)
	}
	return ours
}

func TestExamplesOfCallersAreConfigurations(t *testing.T) {
	ours, issuers := examples(t, "callers.md"), 0
	for _, c := range ours {
		issuers += len(c.GetIssuers())
	}
	if len(ours) != 7 || issuers != 3 {
		t.Errorf("%d configurations, with %d issuers", len(ours), issuers)
	}
}

func TestExamplesOfKeysPublishWhatThePageSays(t *testing.T) {
	var got []string
	for _, c := range examples(t, "keys.md") {
		for _, issuer := range c.Published.Issuers {
			got = append(got, fmt.Sprint(issuer.URL, issuer.Keys, c.Published.Keys))
		}
	}
	if want := "https://tokens.example.org/prod[svc] [] https://tokens.example.org[svc svc-2026] [billing]"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}
