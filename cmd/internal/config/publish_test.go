package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/service/publish"
)

func TestWhatIsPublishedIsWhatTheSectionNames(t *testing.T) {
	c := loadGood(t, "publish")
	if diff := cmp.Diff(publish.Plan{
		Issuers: []publish.Issuer{{
			URL: "https://tokens.example.org/svc", Keys: []string{"next", "svc"},
			Claims: []string{"aud", "exp", "iat", "iss", "jti", "sub"}, // and not tenant
		}},
		Keys: []string{"client"},
	}, c.Published); diff != "" {
		t.Error(diff)
	}
	if got := c.GetPublish().GetMaxConnections(); got != 64 {
		t.Errorf("max_connections %d", got)
	}
}

// No key of a vendor's, and no client's, is shown to the world because its iss
// happens to be a URL; and without the section nothing is.
func TestByDefaultOwnIssuersAreAllThatIsPublished(t *testing.T) {
	data, err := os.ReadFile("testdata/publish.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), "publish:\n")
	for section, want := range map[string]publish.Plan{
		"": {},
		"publish: {}\n": {Issuers: []publish.Issuer{{
			URL: "https://tokens.example.org/svc", Keys: []string{"svc"}, Claims: []string{"aud", "exp", "iat", "iss", "jti", "sub"},
		}}},
	} {
		c, err := Parse("x.yaml", []byte(text+section), checkURI)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Published); diff != "" {
			t.Errorf("%q: %s", section, diff)
		}
		if got := c.GetPublish().GetMaxConnections(); got != 0 {
			t.Errorf("%q: max_connections %d without a listener", section, got)
		}
	}
	// Whoever names a client's iss means it.
	c, err := Parse("x.yaml", []byte(text+"publish: {address: \"localhost:80\", issuers: [{url: \"https://client.example.org\"}]}\n"), checkURI)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Published.Issuers) != 1 || !cmp.Equal(c.Published.Issuers[0].Keys, []string{"client"}) || c.GetPublish().GetMaxConnections() != 512 {
		t.Errorf("%+v, %v", c.Published, c.GetPublish())
	}
}
