package config

import (
	"os"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/service/claims"
)

// No file makes Parse panic, every error names a place, and whatever is
// accepted keeps what the signing path relies on.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"*.good.yaml", "*.bad.yaml"} {
		for _, file := range testFiles(f, pattern) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		c, err := Parse("f", data, checkURI)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "f:") {
					t.Errorf("without a place: %q", line)
				}
			}
			if len(err.Error()) > 64<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		keys := map[string]bool{}
		for _, k := range c.SigningKeys {
			keys[k.Name] = true
			if k.KID == "" || c.GetBackends()[k.Store] == nil {
				t.Errorf("key %+v", k)
			}
		}
		for _, p := range c.ClaimProfiles {
			if !keys[p.Key] || p.DefaultTTL <= 0 || p.DefaultTTL > p.MaxTTL || p.Backdate < 0 {
				t.Errorf("profile %+v", p)
			}
			if p.MaxLifetime > 0 && p.DefaultTTL+p.Backdate > p.MaxLifetime {
				t.Errorf("default life %v of %v", p.DefaultTTL+p.Backdate, p.MaxLifetime)
			}
			if p.Rules["iat"].Computed != claims.IssueTime || p.Rules["exp"].Computed != claims.ExpireTime {
				t.Errorf("times of %+v", p)
			}
			for name, rule := range p.Rules {
				if err := claims.CheckName(name); err != nil {
					t.Error(err)
				}
				if err := claims.CheckRule(name, rule); err != nil {
					t.Error(err)
				}
			}
		}
		for _, rule := range c.PolicyRules {
			if rule.Name == "" || len(rule.Callers) == 0 || len(rule.Profiles) == 0 {
				t.Errorf("rule %+v", rule)
			}
		}
	})
}
