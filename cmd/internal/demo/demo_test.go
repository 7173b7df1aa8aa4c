package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// newDemo returns a demo that builds into a directory of the test and writes
// to the buffer, and the directory that its temporary files go to.
func newDemo(t *testing.T) (d demo, out *bytes.Buffer, tmp string) {
	t.Helper()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tmp = t.TempDir()
	t.Setenv("TMPDIR", tmp)
	// Settings of the user's own jotsmith, which the demo must not take.
	t.Setenv("JOTSMITH_ADDRESS", "unix:///nowhere")
	t.Setenv("JOTSMITH_TLS_CA", "/nowhere")
	out = new(bytes.Buffer)
	return demo{root: root, binary: filepath.Join(t.TempDir(), "jotsmith"), out: &page{w: out}}, out, tmp
}

func TestDemoShowsAVerifiedToken(t *testing.T) {
	d, out, tmp := newDemo(t)
	for run := range 2 {
		out.Reset()
		if err := d.run(t.Context()); err != nil {
			t.Fatalf("run %d: %v\n%s", run, err, out)
		}
		leftNothing(t, tmp)

		text := out.String()
		for _, want := range []string{
			`(?m)^  build +`,
			`(?m)^  server .* ready in .* for uid ` + fmt.Sprint(os.Getuid()) + ` alone$`,
			`(?m)^  mint .* [23]\d\d bytes$`,
			`(?m)^  verify +go-jose accepts it with the key that the server publishes, for (10m0s|9m5\ds)$`,
			`(?m)^  your key .* cmd/internal/demo/jotsmith\.yaml `,
			`(?m)^  serve .* serve --config `,
			`(?m)^  read .*README\.md`,
		} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("run %d: no line matches %s", run, want)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Error("colours go to something that is no terminal")
		}
		var header struct{ Alg, Kid, Typ string }
		shown(t, text, "header", &header)
		if header.Alg != "ES256" || header.Kid != kid || header.Typ != "JWT" {
			t.Errorf("header is %+v", header)
		}
		var claims struct {
			Aud, Iss string
			Iat, Exp int64
		}
		shown(t, text, "claims", &claims)
		now := time.Now().Unix()
		if claims.Aud != audience || claims.Iss != issuer || claims.Iat > now || claims.Exp <= now {
			t.Errorf("claims are %+v at %d", claims, now)
		}
		if t.Failed() {
			t.Log(text)
		}
	}
}

// shown decodes the JSON value that a page shows under a name.
func shown(t *testing.T, text, name string, value any) {
	t.Helper()
	_, rest, ok := strings.Cut(text, "  "+name)
	if !ok {
		t.Fatalf("no %s in\n%s", name, text)
	}
	if err := json.NewDecoder(strings.NewReader(rest)).Decode(value); err != nil {
		t.Fatalf("%s: %v in\n%s", name, err, text)
	}
}

func leftNothing(t *testing.T, tmp string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(tmp, "jotsmith-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestDemoFailsWithTheCompilersWords(t *testing.T) {
	d, _, tmp := newDemo(t)
	d.root = t.TempDir() // no module
	err := d.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "go build") || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("error is %v", err)
	}
	leftNothing(t, tmp)
}

func TestDemoFailsWithTheServersWords(t *testing.T) {
	d, _, _ := newDemo(t)
	if err := build(t.Context(), d.root, d.binary); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "jotsmith.yaml")
	if err := os.WriteFile(config, []byte("listenerz: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := program{path: d.binary}.serve(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "listenerz") {
		t.Errorf("error is %v", err)
	}
}

func TestDemoEndsWhenItIsInterrupted(t *testing.T) {
	d, _, tmp := newDemo(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.run(ctx); err == nil {
		t.Error("an interrupted demo succeeds")
	}
	leftNothing(t, tmp)
}

func TestDemoPutsAllAwayWhenNobodyReads(t *testing.T) {
	d, _, tmp := newDemo(t)
	binary := filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/internal/demo")
	build.Dir = d.root
	if _, err := output(build); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Dir, cmd.Stdout = d.root, writer
	if err := cmd.Run(); err != nil {
		t.Errorf("the demo ends with %v", err)
	}
	leftNothing(t, tmp)
}

func TestTheConfigurationToCopyIsGood(t *testing.T) {
	d, _, _ := newDemo(t)
	if err := build(t.Context(), d.root, d.binary); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jotsmith.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := output(exec.CommandContext(t.Context(), d.binary, "config", "check", "--offline", file)); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	good, keys := sign(t)
	_, other := sign(t)
	now := time.Now()
	for _, c := range []struct {
		name, token, keys string
		now               time.Time
		want              string // in the error; empty for none
	}{
		{"nothing", good, keys, now, ""},
		{"another key", good, other, now, "signature"},
		{"no key", good, `{"keys":[]}`, now, "signature"},
		{"a late token", good, keys, now.Add(time.Hour), "expired"},
		{"alg none", "eyJhbGciOiJub25lIn0.e30.", keys, now, "token"},
		{"alg HS256", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", keys, now, "token"},
		{"no token", "", keys, now, "token"},
		{"no JWK Set", good, "", now, "JWK Set"},
	} {
		_, err := verify(c.token, c.keys, c.now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// sign makes a token as the server would and the JWK Set that it verifies with.
func sign(t *testing.T) (token, keySet string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err = jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: issuer, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: kid}}})
	if err != nil {
		t.Fatal(err)
	}
	return token, string(keys)
}
