package standin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jotsmith/jotsmith/clients/conformance/standin"
)

const issuer = "57246542-96fe-1a63-e053-0824d011072a"

// sign makes a token that go-jose signs.
func sign(t *testing.T, key *ecdsa.PrivateKey, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
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

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokensAreTakenByApplesRules(t *testing.T) {
	key, other := newKey(t), newKey(t)
	now := time.Unix(1_800_000_000, 0)
	server := standin.New(standin.Config{
		Issuer: issuer, Now: func() time.Time { return now },
		Keys: func() (map[string]*ecdsa.PublicKey, error) {
			return map[string]*ecdsa.PublicKey{"KID": &key.PublicKey}, nil
		},
	})
	header := func(change func(map[jose.HeaderKey]any)) map[jose.HeaderKey]any {
		h := map[jose.HeaderKey]any{"kid": "KID", "typ": "JWT"}
		change(h)
		return h
	}
	claims := func(name string, value any) map[string]any {
		c := map[string]any{"iss": issuer, "iat": now.Unix() - 60, "exp": now.Unix() + 600, "aud": "appstoreconnect-v1"}
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	none := func(map[jose.HeaderKey]any) {}
	good := sign(t, key, header(none), claims("x", 1))
	individual := claims("iss", nil)
	individual["sub"] = "user"
	long := claims("iat", now.Unix()-900)
	for _, c := range []struct {
		name, token, target string
		status              int
		detail              string
	}{
		{"good", good, "/v1/apps", 200, ""},
		{"one app", good, "/v1/apps/1234567890", 200, ""},
		{"no such app", good, "/v1/apps/1", 404, "no resource"},
		{"individual", sign(t, key, header(none), individual), "/v1/apps", 200, ""},
		{"none", "", "/v1/apps", 401, "no Authorization"},
		{"junk", "a.b", "/v1/apps", 401, "three parts"},
		{"kid", sign(t, key, header(func(h map[jose.HeaderKey]any) { h["kid"] = "other" }), claims("x", 1)), "/v1/apps", 401, "kid"},
		{"typ", sign(t, key, header(func(h map[jose.HeaderKey]any) { h["typ"] = "at+jwt" }), claims("x", 1)), "/v1/apps", 401, "typ"},
		{"signature", sign(t, other, header(none), claims("x", 1)), "/v1/apps", 401, "signature"},
		{"iss", sign(t, key, header(none), claims("iss", "other")), "/v1/apps", 401, "iss"},
		{"no iss", sign(t, key, header(none), claims("iss", nil)), "/v1/apps", 401, "iss"},
		{"aud", sign(t, key, header(none), claims("aud", "other")), "/v1/apps", 401, "aud"},
		{"aud of one element", sign(t, key, header(none), claims("aud", []string{"appstoreconnect-v1"})), "/v1/apps", 401, "aud"},
		{"no iat", sign(t, key, header(none), claims("iat", nil)), "/v1/apps", 401, "iat"},
		{"iat of a fraction", sign(t, key, header(none), claims("iat", float64(now.Unix())-0.5)), "/v1/apps", 401, "iat"},
		{"iat in the future", sign(t, key, header(none), claims("iat", now.Unix()+34)), "/v1/apps", 401, "future"},
		{"no exp", sign(t, key, header(none), claims("exp", nil)), "/v1/apps", 401, "exp"},
		{"expired", sign(t, key, header(none), claims("exp", now.Unix())), "/v1/apps", 401, "expired"},
		{"21 minutes", sign(t, key, header(none), claims("exp", now.Unix()+1141)), "/v1/apps", 401, "after iat"},
		{"20 minutes", sign(t, key, header(none), claims("exp", now.Unix()+1140)), "/v1/apps", 200, ""},
		{"long ago", sign(t, key, header(none), long), "/v1/apps", 401, "after iat"},
		{"scope", sign(t, key, header(none), claims("scope", []string{"GET /v1/apps?filter[name]=a&sort=name"})), "/v1/apps?limit=3&filter[name]=a", 200, ""},
		{"another scope", sign(t, key, header(none), claims("scope", []string{"GET /v1/builds", "PATCH /v1/apps"})), "/v1/apps", 403, "scope"},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.target, http.NoBody)
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, req)
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.detail) {
			t.Errorf("%s: %d %s", c.name, answer.Code, answer.Body)
		}
	}
	parts := strings.Split(good, ".")
	for _, forged := range []string{
		"eyJhbGciOiJub25lIiwia2lkIjoiS0lEIiwidHlwIjoiSldUIn0." + parts[1] + ".",
		parts[0] + "." + parts[1] + "." + parts[2][:43],
		parts[0] + "." + parts[1] + "." + parts[2] + "==",
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/apps", http.NoBody)
		req.Header.Set("Authorization", "Bearer "+forged)
		answer := httptest.NewRecorder()
		if server.ServeHTTP(answer, req); answer.Code != http.StatusUnauthorized {
			t.Errorf("a forged token got %d", answer.Code)
		}
	}
}

func TestKeysAreReadFromAJWKSet(t *testing.T) {
	key := newKey(t)
	file := filepath.Join(t.TempDir(), "jwks.json")
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "KID", Algorithm: "ES256"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := standin.ReadKeys(file)
	if err != nil || !keys["KID"].Equal(key.Public()) {
		t.Errorf("%v, %v", keys, err)
	}
	for _, bad := range []string{"", "{}", `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"=","y":"AA"}]}`, `{"keys":[{"kty":"RSA"}]}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := standin.ReadKeys(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
