package jotsmith_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jotsmith/jotsmith/clients/conformance/standin"
	jotsmith "github.com/jotsmith/jotsmith/clients/go"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

const issuer = "57246542-96fe-1a63-e053-0824d011072a"

// daemon is the program itself, which a test can stop and start again.
type daemon struct {
	t             *testing.T
	dir, tcp, kid string
	program       string
	clients       *authntest.Authority
	tokens        *httptest.Server // an OpenID Connect provider
	tokensKey     jose.JSONWebKey
	command       *exec.Cmd
	output        bytes.Buffer
}

// startDaemon builds and starts one.
func startDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "jot") //nolint:usetesting // a socket's path is short, t.TempDir's is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, dir: dir, kid: "2X9R4HXF34", program: filepath.Join(dir, "jotsmith"), clients: authntest.NewAuthority(t)}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", d.program, "../../cmd/jotsmith").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.tokensKey = jose.JSONWebKey{Key: authntest.NewKey(t), KeyID: "k1", Use: "sig", Algorithm: "ES256"}
	mux := http.NewServeMux()
	d.tokens = httptest.NewTLSServer(mux)
	t.Cleanup(d.tokens.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, d.tokens.URL, d.tokens.URL+"/jwks")
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{d.tokensKey.Public()}})
	})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.tcp = listener.Addr().String()
	listener.Close()
	d.pem("ca.pem", "CERTIFICATE", d.clients.Certificate.Raw)
	d.pem("tokens-ca.pem", "CERTIFICATE", d.tokens.Certificate().Raw)
	d.certificate("server", d.clients.Server())
	d.rotate(d.kid)
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) file(name string) string { return filepath.Join(d.dir, name) }

func (d *daemon) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) pem(name, kind string, der []byte) {
	d.write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func (d *daemon) certificate(name string, c tls.Certificate) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		d.t.Fatal(err)
	}
	d.pem(name+".pem", "CERTIFICATE", c.Certificate[0])
	d.pem(name+".key", "PRIVATE KEY", der)
}

// rotate writes a configuration with a new key.
func (d *daemon) rotate(kid string) {
	der, err := x509.MarshalPKCS8PrivateKey(authntest.NewKey(d.t))
	if err != nil {
		d.t.Fatal(err)
	}
	d.pem(kid+".p8", "PRIVATE KEY", der)
	d.kid = kid
	d.write("jotsmith.yaml", fmt.Sprintf(`
listeners:
  - unix: {path: %[1]s/s}
  - tcp:
      address: %[2]s
      certificate_file: %[1]s/server.pem
      key_file: %[1]s/server.key
      client_ca_file: %[1]s/ca.pem
      client_certificate_optional: true
admin: {path: %[1]s/admin, state_file: %[1]s/stopped.json}
limits: {shutdown_grace: 1s}
issuers:
  ci: {url: %[3]s, audiences: [https://jotsmith.example], ca_file: %[1]s/tokens-ca.pem}
backends: {local: {uri: "file:%[1]s"}}
keys: {k: {backend: local, id: %[4]s.p8, kid: %[4]s}}
profiles:
  asc: {preset: apple/app-store-connect-team, key: k, claims: {iss: {fixed: %[5]s}}}
grants:
  - name: all
    callers:
      - unix: {uid: %[6]d}
      - mtls: {dns: me.example}
      - oidc: {issuer: ci, sub: me}
    profiles: [asc]
`, d.dir, d.tcp, d.tokens.URL, kid, issuer, os.Getuid()))
}

// start starts the program. Whoever calls it is answered once it is there, which is
// the client's affair.
func (d *daemon) start() {
	d.t.Helper()
	d.command = exec.Command(d.program, "serve", "--config", d.file("jotsmith.yaml"))
	d.command.Stdout, d.command.Stderr = &d.output, &d.output
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
}

// stop lets the program stop as it wants to.
func (d *daemon) stop() {
	if d.command == nil {
		return
	}
	_ = d.command.Process.Signal(syscall.SIGTERM)
	if err := d.command.Wait(); err != nil {
		d.t.Errorf("the server ended with %v\n%s", err, d.output.String())
	}
	d.command = nil
}

// operator is a client of the operators' socket.
func (d *daemon) operator() jotsmithv1.AdminServiceClient {
	conn, err := grpc.NewClient("unix://"+d.file("admin"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	return jotsmithv1.NewAdminServiceClient(conn)
}

func (d *daemon) must(client *jotsmith.Client) jotsmith.Token {
	d.t.Helper()
	token, err := client.Token(d.t.Context(), "asc")
	if err != nil {
		d.t.Fatalf("%v\n%s", err, d.output.String())
	}
	return token
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*jotsmith.Error](err); ok {
		return e.Reason
	}
	return fmt.Sprint(err)
}

func TestAClientOutlivesItsServer(t *testing.T) {
	d := startDaemon(t)
	client := connect(t, d.file("s"), jotsmith.Timeout(30*time.Second))
	first := d.must(client) // which waited until the server was there
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watched := make(chan string, 16)
	ended := make(chan error, 1)
	go func() {
		var last error
		for token, err := range client.Watch(ctx, "asc") {
			if last = err; err == nil {
				watched <- token.Reveal()
			}
		}
		ended <- last
	}()
	if got := <-watched; got != first.Reveal() {
		t.Error("a watch begins with another token than the one in use")
	}
	d.stop()
	if d.must(client).Reveal() != first.Reveal() {
		t.Error("the kept token is gone with the server")
	}
	for time.Now().Unix() <= first.IssueTime.Unix()+61 { // iat is dated back by 60 s; of the same second the token would be the same
		time.Sleep(50 * time.Millisecond)
	}
	client.Invalidate("asc")
	started := make(chan struct{})
	go func() {
		defer close(started)
		d.start()
	}()
	second := d.must(client)
	<-started
	if second.Reveal() == first.Reveal() {
		t.Error("the new server made the old token")
	}
	select {
	case got := <-watched:
		if got == first.Reveal() {
			t.Error("the watch repeats itself")
		}
	case <-ctx.Done():
		t.Fatal("the watch brought nothing after the restart")
	}
	verified(t, client, second)

	// The kill switch ends the watch, and what is asked for from then on.
	if _, err := d.operator().Disable(ctx, &jotsmithv1.DisableRequest{Target: &jotsmithv1.Target{Target: &jotsmithv1.Target_Profile{Profile: "asc"}}, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(<-ended); got != "DISABLED" {
		t.Errorf("the watch ended with %s", got)
	}
	client.Invalidate("asc")
	if _, err := client.Token(ctx, "asc"); reasonOf(err) != "DISABLED" {
		t.Errorf("after the kill: %v", err)
	}
}

func TestFilesOfIdentityAreReadAnew(t *testing.T) {
	d := startDaemon(t)
	named := func(name string) tls.Certificate {
		return d.clients.Issue(func(c *x509.Certificate) { c.DNSNames = []string{name} })
	}
	d.certificate("me", named("somebody.example"))
	client, err := jotsmith.Connect(d.tcp, jotsmith.TLS(d.file("ca.pem"), d.file("me.pem"), d.file("me.key")), jotsmith.Timeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Token(t.Context(), "asc"); reasonOf(err) != "NOT_GRANTED" {
		t.Errorf("a stranger: %v", err)
	}
	d.certificate("me", named("me.example"))
	d.stop()
	d.start() // so that the connection is a new one
	d.must(client)
	// Files that are half written leave what was read before.
	d.write("me.pem", "half")
	d.stop()
	d.start()
	client.Invalidate("asc")
	d.must(client)

	d.bearer("me")
	caller, err := jotsmith.Connect(d.tcp, func(s *jotsmith.Settings) { s.CA, s.BearerFile = d.file("ca.pem"), d.file("id") })
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	verified(t, caller, d.must(caller))
	d.bearer("somebody")
	caller.Invalidate("asc")
	if _, err := caller.Token(t.Context(), "asc"); reasonOf(err) != "NOT_GRANTED" {
		t.Errorf("another's bearer: %v", err)
	}
	distrusting, err := jotsmith.Connect(d.tcp, func(s *jotsmith.Settings) {
		s.CA, s.BearerFile, s.Timeout = d.file("tokens-ca.pem"), d.file("id"), time.Second
	})
	if err != nil {
		t.Fatal(err)
	}
	defer distrusting.Close()
	if _, err := distrusting.Token(t.Context(), "asc"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of another CA: %v", err)
	}
}

// bearer writes a token of the OpenID Connect provider.
func (d *daemon) bearer(sub string) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: d.tokensKey}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		d.t.Fatal(err)
	}
	now := time.Now().Unix()
	payload, _ := json.Marshal(map[string]any{"iss": d.tokens.URL, "aud": "https://jotsmith.example", "sub": sub, "iat": now, "exp": now + 300})
	signed, err := signer.Sign(payload)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("id", text+"\n")
}

func TestARequestIsRepeatedOnceAfterAKeyWasRotated(t *testing.T) {
	d := startDaemon(t)
	client := connect(t, d.file("s"), jotsmith.Timeout(30*time.Second))
	var requests atomic.Int32
	apple := standin.New(standin.Config{Issuer: issuer, Now: time.Now, Keys: func() (map[string]*ecdsa.PublicKey, error) {
		keys, err := client.Keys(t.Context(), "")
		known := map[string]*ecdsa.PublicKey{}
		for _, key := range keys {
			known[key.KID] = key.Public
		}
		return known, err
	}})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		apple.ServeHTTP(w, r)
	}))
	defer api.Close()
	web := http.Client{Transport: client.Transport(nil, "asc")}
	rename := func(want int, body any) {
		t.Helper()
		requests.Store(0)
		text := `{"data":{"attributes":{"name":"Renamed"}}}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, api.URL+"/v1/apps/1234567890", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if body == nil { // which cannot be read twice
			req.GetBody = nil
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer bytes.Buffer
		_, _ = answer.ReadFrom(resp.Body)
		if resp.StatusCode != want || want == http.StatusOK && !strings.Contains(answer.String(), "Renamed") {
			t.Errorf("%d, want %d: %s", resp.StatusCode, want, answer.String())
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the program's request was changed")
		}
	}
	rename(http.StatusOK, true)
	for _, rotation := range []struct {
		kid      string
		body     any
		want     int
		requests int32
	}{{"NEW1234567", true, http.StatusOK, 2}, {"NEW7654321", nil, http.StatusUnauthorized, 1}} {
		d.rotate(rotation.kid)
		if _, err := d.operator().Reload(t.Context(), &jotsmithv1.ReloadRequest{}); err != nil {
			t.Fatal(err)
		}
		rename(rotation.want, rotation.body)
		if n := requests.Load(); n != rotation.requests {
			t.Errorf("%d requests after a rotation, want %d", n, rotation.requests)
		}
	}
}

func TestTheExampleListsApps(t *testing.T) {
	d := startDaemon(t)
	client := connect(t, d.file("s"), jotsmith.Timeout(30*time.Second))
	d.must(client)
	keys, err := client.Keys(t.Context(), "asc")
	if err != nil {
		t.Fatal(err)
	}
	d.write("jwks.json", `{"keys":[`+keys[0].JWK+`]}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, name := range []string{"example", "../conformance/standin/serve"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", d.file(filepath.Base(name)), "./"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	serve := exec.CommandContext(ctx, d.file("serve"), "--issuer", issuer, "--jwks", d.file("jwks.json"))
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = serve.Wait() }()
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		t.Fatal(err)
	}
	example := exec.CommandContext(ctx, d.file("example"), "--api", url)
	example.Env = append(os.Environ(), "JOTSMITH_ADDRESS=unix://"+d.file("s"))
	text, err := example.CombinedOutput()
	if want := "1234567890\tcom.example.forecast\tForecast\n1234567891\tcom.example.timetable\tTimetable\n"; err != nil || string(text) != want {
		t.Errorf("%v: %s", err, text)
	}
}
