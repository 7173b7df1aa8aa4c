package config

import (
	"os"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/signer"
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
			configured := c.GetKeys()[k.Name].GetKid()
			if k.Version > 0 {
				configured = c.GetKeys()[k.Name].GetVersions()[k.Version-1].GetKid()
			}
			if k.KID != configured || len(k.Members) == 0 || len(k.Members) > signer.MaxMembers {
				t.Errorf("key %+v", k)
			}
			for _, m := range k.Members {
				if c.GetBackends()[m.Store] == nil || m.ID == "" {
					t.Errorf("key %+v", k)
				}
			}
		}
		for _, p := range c.ClaimProfiles {
			if !keys[p.Key] || p.Backdate < 0 {
				t.Errorf("profile %+v", p)
			}
			life := p.DefaultTTL
			switch {
			case p.Expires():
				if life <= 0 || life > p.MaxTTL || p.MaxLifetime > 0 && life+p.Backdate > p.MaxLifetime {
					t.Errorf("lifetimes of %+v", p)
				}
			case p.Rules["iat"].Computed != claims.IssueTime:
				t.Errorf("nobody could say how old a token of %+v is", p)
			case p.MaxAge > 0:
				if life = p.MaxAge - p.Backdate; life <= 0 {
					t.Errorf("life %v of %+v", life, p)
				}
			case p.Reuse.Mode != claims.Never:
				t.Errorf("reuses endless tokens: %+v", p)
			}
			if p.Reuse.Mode == claims.Shared && max(p.Reuse.MinAge, p.Reuse.Grid) > life/3*2 {
				t.Errorf("reuse %v of a life of %v", p.Reuse, life)
			}
			for name, rule := range p.Header {
				if err := claims.CheckHeader(name, rule); err != nil {
					t.Error(err)
				}
			}
			for name, rule := range p.Rules {
				if rule.Computed == claims.ExpireTime && !p.Expires() || rule.Caller != nil && p.Reuse.Mode == claims.Shared {
					t.Errorf("rule of %s: %+v", name, p)
				}
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
