package stage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

// provider is an OpenID Connect provider, whose tokens make callers known.
type provider struct {
	server *httptest.Server
	key    jose.JSONWebKey
}

func newProvider(t testing.TB) *provider {
	mux := http.NewServeMux()
	p := &provider{
		server: httptest.NewTLSServer(mux),
		key:    jose.JSONWebKey{Key: authntest.NewKey(t), KeyID: "k1", Use: "sig", Algorithm: "ES256"},
	}
	t.Cleanup(p.server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.server.URL, p.server.URL+"/jwks")
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}})
	})
	return p
}

// token returns a token for a sub, good for five minutes.
func (p *provider) token(t testing.TB, sub string) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{"iss": p.server.URL, "aud": "https://jotsmith.example", "sub": sub, "iat": now, "exp": now + 300})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
