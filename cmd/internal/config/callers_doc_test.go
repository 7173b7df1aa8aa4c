package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestExamplesOfCallersAreConfigurations checks every example in
// docs/callers.md: those of this server's configuration as the server would,
// those of other systems as YAML.
func TestExamplesOfCallersAreConfigurations(t *testing.T) {
	page, err := os.ReadFile("../../../docs/callers.md")
	if err != nil {
		t.Fatal(err)
	}
	ours, issuers := 0, 0
	for i, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllSubmatch(page, -1) {
		text := string(block[1])
		if !strings.HasPrefix(text, "listeners:") {
			if err := yaml.Unmarshal(block[1], new(any)); err != nil {
				t.Errorf("example %d: %v", i+1, err)
			}
			continue
		}
		ours++
		c, err := Parse(fmt.Sprintf("example-%d.yaml", i+1), block[1], checkURI)
		if err != nil {
			t.Error(err)
			continue
		}
		issuers += len(c.GetIssuers())
	}
	if ours != 6 || issuers != 3 {
		t.Errorf("%d configurations, with %d issuers", ours, issuers)
	}
}
