package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/authn/oidc"
)

func TestIssuersHaveTheirDefaults(t *testing.T) {
	c, err := Load("testdata/issuers.good.yaml", checkURI)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.TokenIssuers(); err == nil {
		t.Error("a CA file that is not there was read")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.GetIssuers()["whole"].CaFile = ca
	got, err := c.TokenIssuers()
	if err != nil {
		t.Fatal(err)
	}
	want := []oidc.Issuer{
		{Name: "plain", URL: "https://a.example.org", Audiences: []string{"x"}, MinRefresh: time.Minute, MaxStale: time.Hour},
		{Name: "slash", URL: "https://a.example.org/", Audiences: []string{"x"}, MinRefresh: time.Minute, MaxStale: time.Hour},
		{
			Name: "whole", URL: "https://b.example.org/realms/ci", Audiences: []string{"https://jotsmith.example.org", "other"},
			Algorithms: []string{"ES256", "EdDSA"}, JWKSURL: "https://keys.example.org/b.json", CAPEM: []byte("pem"),
			MinRefresh: 5 * time.Minute,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
