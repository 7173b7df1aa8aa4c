package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// forged is a token with a payload, and the kid of a key that has not signed it.
func forged(t *testing.T, payload, kid string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(decode(t, payload)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Libraries that are not ours fetch the JWK Set of the real server over HTTP and
// verify what it minted, by a configured kid and by a thumbprint, and nothing
// else.
func TestForeignLibrariesVerifyWithThePublishedKeys(t *testing.T) {
	const issuer = "https://tokens.example.org/t"
	r := startReloadable(t, func(r *reloadable) string {
		r.newKey(t, "print.pem")
		return strings.NewReplacer(
			"kid: kid-1}}", "kid: kid-1}, print: {backend: files, id: print.pem}}",
			"  svc: {", "  print: {preset: jwt, key: print, claims: {iss: {fixed: \""+issuer+"\"}, aud: {fixed: b}, sub: {fixed: by-print}}}\n  svc: {",
			"aud: {fixed: a}}", "aud: {fixed: [a, b]}, sub: {fixed: by-kid}}",
			"profiles: [svc]", "profiles: [svc, print]",
		).Replace(r.publishing(issuer, "{address: \"127.0.0.1:0\"}"))
	})
	mint := func(profile string) *jotsmithv1.MintTokenResponse {
		t.Helper()
		token, err := jotsmithv1.NewTokenServiceClient(r.conn).MintToken(t.Context(), &jotsmithv1.MintTokenRequest{Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	byKID, byPrint := mint("svc"), mint("print")
	if len(byPrint.GetKid()) != 43 {
		t.Errorf("kid %q is no thumbprint", byPrint.GetKid())
	}
	header, payload, signature := cutToken(byKID.GetToken())
	_, _, other := cutToken(byPrint.GetToken())
	tokens := []struct{ name, text, want string }{
		{"by a kid", byKID.GetToken(), "yes by-kid"},
		{"by a thumbprint", byPrint.GetToken(), "yes by-print"},
		{"by a kid, again", byKID.GetToken(), "yes by-kid"},
		{"another claim", header + "." + encode(strings.Replace(decode(t, payload), "by-kid", "by-you", 1)) + "." + signature, "no"},
		{"alg none", encode(`{"alg":"none","kid":"kid-1","typ":"JWT"}`) + "." + payload + ".", "no"},
		{"another signature", header + "." + payload + "." + other, "no"},
		{"no signature", header + "." + payload + ".", "no"},
		{"another key under the kid", forged(t, payload, byKID.GetKid()), "no"},
		{"a kid that is not there", forged(t, payload, "nobody"), "no"},
	}
	input := map[string]any{"jwks": "http://" + r.publishedAt(t) + issuerKeys, "issuer": issuer, "audience": "b"}
	var texts []string
	for _, token := range tokens {
		texts = append(texts, token.text)
	}
	input["tokens"] = texts
	given, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}

	const dir = "../../deploy/dev/verifiers"
	modules, err := exec.CommandContext(t.Context(), "../../deploy/dev/npm.sh", "verifiers").Output()
	if err != nil {
		t.Fatalf("deploy/dev/npm.sh: %v; run deploy/dev/setup.sh, then try again", err)
	}
	program := filepath.Join(t.TempDir(), "verifiers")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	python, node := "../../.cache/verify/bin/python", strings.TrimSpace(string(modules))
	for name, command := range map[string][]string{
		"PyJWT":                     {python, dir + "/verify.py", "pyjwt"},
		"joserfc":                   {python, dir + "/verify.py", "joserfc"},
		"jose":                      {"node", dir + "/verify.mjs", node, "jose"},
		"jsonwebtoken and jwks-rsa": {"node", dir + "/verify.mjs", node, "jsonwebtoken"},
		"golang-jwt and keyfunc":    {program, "keyfunc"},
		"jwx":                       {program, "jwx"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, command[0], command[1:]...)
			cmd.Stdin = strings.NewReader(string(given))
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s; run deploy/dev/setup.sh, then try again", err, said.String())
			}
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			if len(lines) != len(tokens) {
				t.Fatalf("%d answers: %s", len(lines), out)
			}
			for i, token := range tokens {
				if got := lines[i]; got != token.want && (token.want != "no" || !strings.HasPrefix(got, "no ")) {
					t.Errorf("%s: %s, want %s", token.name, got, token.want)
				}
			}
			t.Logf("%s", out)
		})
	}
}

// cutToken returns the parts of a compact token.
func cutToken(token string) (header, payload, signature string) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ = strings.Cut(rest, ".")
	return header, payload, signature
}

// encode is base64url without padding, and decode its reverse.
func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t *testing.T, text string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
