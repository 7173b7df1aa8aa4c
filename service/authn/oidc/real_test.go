package oidc

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// realProvider is npm's oidc-provider, running.
type realProvider struct {
	issuer string
	ca     []byte
	in     io.Writer
	out    *bufio.Reader
}

// startReal starts the provider, which ends with the test.
func startReal(t *testing.T) *realProvider {
	t.Helper()
	const dir = "../../../deploy/dev/oidc"
	var said bytes.Buffer
	install := exec.CommandContext(t.Context(), dir+"/../npm.sh", "oidc")
	install.Stderr = &said
	modules, err := install.Output()
	if err != nil {
		t.Fatalf("deploy/dev/npm.sh: %v\n%srun deploy/dev/setup.sh, then try again", err, said.Bytes())
	}
	p := &realProvider{}
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	p.ca = selfSigned(t, cert, key)
	cmd := exec.CommandContext(t.Context(), "node", dir+"/provider.mjs", strings.TrimSpace(string(modules)), cert, key)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v; run deploy/dev/setup.sh, then try again", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the provider ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the provider said %s", log.Bytes())
		}
	})
	p.in, p.out = in, bufio.NewReader(out)
	var ready struct{ Issuer string }
	p.answer(t, &ready)
	p.issuer = ready.Issuer
	return p
}

func (p *realProvider) answer(t *testing.T, into any) {
	t.Helper()
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	if err != nil {
		t.Fatalf("the provider answered %q: %v", line, err)
	}
}

// rotate has the provider forget its keys.
func (p *realProvider) rotate(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(p.in, "rotate\n"); err != nil {
		t.Fatal(err)
	}
	p.answer(t, &struct{}{})
}

// token asks for an access token for a resource, as a client would.
func (p *realProvider) token(t *testing.T, resource string) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"mint"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("ci", "secret")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || strings.Count(answer.AccessToken, ".") != 2 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return answer.AccessToken
}

// selfSigned writes a certificate for 127.0.0.1, and its key, and returns the
// certificate.
func selfSigned(t *testing.T, certFile, keyFile string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, data := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

func TestTokensOfARealProvider(t *testing.T) {
	p := startReal(t)
	keys := NewKeys(KeysConfig{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(keys.Close)
	const audience = "https://jotsmith.example/es256"
	verifier, err := keys.Verifier([]Issuer{{
		Name: "real", URL: p.issuer, Audiences: []string{"https://jotsmith.example", audience}, CAPEM: p.ca,
		MinRefresh: time.Nanosecond, MaxStale: time.Hour,
	}})
	if err != nil {
		t.Fatal(err)
	}
	verifier.Warm(t.Context())
	rs256, es256 := p.token(t, "https://jotsmith.example"), p.token(t, audience)
	check := func(when string, tokens ...string) {
		t.Helper()
		for _, token := range tokens {
			caller, err := verifier.Caller(t.Context(), token)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			got, _ := caller.Token()
			if got.Subject != "ci" || got.Claims["ref"] != "refs/heads/main" || got.Claims["attempt"] != "3" || got.Claims["protected"] != "true" {
				t.Errorf("%s: %+v", when, got)
			}
		}
	}
	check("at first", rs256, es256)
	if !strings.HasPrefix(rs256, "eyJ") || strings.Split(rs256, ".")[0] == strings.Split(es256, ".")[0] {
		t.Error("both have the same header")
	}
	if _, err := verifier.Caller(t.Context(), p.token(t, "https://other.example")); err == nil || !strings.Contains(err.Error(), "aud") {
		t.Errorf("another's audience: %v", err)
	}
	parts := strings.Split(rs256, ".")
	if _, err := verifier.Caller(t.Context(), parts[0]+"."+strings.Split(es256, ".")[1]+"."+parts[2]); err == nil {
		t.Error("accepted claims under another's signature")
	}

	p.rotate(t)
	check("after a rotation", p.token(t, "https://jotsmith.example"), p.token(t, audience))
	for _, token := range []string{rs256, es256} {
		if caller, err := verifier.Caller(t.Context(), token); err == nil {
			t.Errorf("after a rotation: %v by a key that is gone", caller)
		}
	}
}
