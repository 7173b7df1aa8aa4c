package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const issuerKeys = "/t/.well-known/jwks.json"

// publishing is the configuration of a server that publishes its one issuer.
func (r *reloadable) publishing(iss, section string) string {
	return strings.Replace(r.config("a", "publish: "+section+"\n"), "{fixed: i}", "{fixed: \""+iss+"\"}", 1)
}

// startPublisher starts one, on a port of the system's choice.
func startPublisher(t *testing.T, iss string) (r *reloadable, address string) {
	t.Helper()
	r = startReloadable(t, func(r *reloadable) string { return r.publishing(iss, "{address: \"127.0.0.1:0\"}") })
	address = r.publishedAt(t)
	return r, address
}

// publishedAt returns where the server publishes.
func (r *reloadable) publishedAt(t *testing.T) string {
	t.Helper()
	for _, l := range r.server.listeners {
		if l.network == "tcp" {
			return l.name
		}
	}
	t.Fatal("nothing is published")
	return ""
}

// get returns the status and the body at a path.
func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestPublishedKeysFollowTheConfiguration(t *testing.T) {
	r, address := startPublisher(t, "https://x.example/t")
	url := "http://" + address + issuerKeys
	status, before := get(t, http.DefaultClient, url)
	if status != http.StatusOK || !strings.Contains(before, `"kid":"kid-1"`) {
		t.Fatalf("%d: %s", status, before)
	}
	r.newKey(t, "k.pem")
	reloaded := time.Now()
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	for after := before; after == before; _, after = get(t, http.DefaultClient, url) {
		if time.Since(reloaded) > time.Second {
			t.Fatal("a second after the reload the old key is still published")
		}
	}
	// The section itself is taken up too, but for where it listens.
	r.write(t, r.publishing("https://x.example/u", "{address: \"127.0.0.1:0\", keys: [k]}"))
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Second); ; {
		gone, _ := get(t, http.DefaultClient, url)
		there, _ := get(t, http.DefaultClient, "http://"+address+"/u/.well-known/openid-configuration")
		key, _ := get(t, http.DefaultClient, "http://"+address+"/keys/k/jwks.json")
		if gone == http.StatusNotFound && there == http.StatusOK && key == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the old issuer %d, the new one %d, the key %d", gone, there, key)
		}
	}
	for _, section := range []string{"{address: \"127.0.0.1:1\"}", "{address: \"127.0.0.1:0\", max_connections: 3}", "{}"} {
		r.write(t, r.publishing("https://x.example/u", section))
		if err := r.server.reloader.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "a change of publish needs a restart") {
			t.Errorf("%s: %v", section, err)
		}
	}
}

func TestPublisherBoundsWhatStrangersDo(t *testing.T) {
	r, address := startPublisher(t, "https://x.example/t")
	for name, row := range map[string]struct {
		text string
		want int // 0 is a connection that is closed without an answer
	}{
		"HTTP/1.1":           {"GET " + issuerKeys + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200},
		"HTTP/1.0":           {"GET " + issuerKeys + " HTTP/1.0\r\n\r\n", 200},
		"HTTP/1.1, no host":  {"GET " + issuerKeys + " HTTP/1.1\r\n\r\n", 400},
		"HTTP/0.9":           {"GET " + issuerKeys + "\r\n\r\n", 400},
		"HTTP/2 unasked":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404},
		"a method too many":  {"POST " + issuerKeys + " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 405},
		"a long header":      {"GET " + issuerKeys + " HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431},
		"a long path":        {"GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", 431},
		"two lengths":        {"GET " + issuerKeys + " HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		"a path without /":   {"GET .well-known/jwks.json HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"dots":               {"GET /x/../t/.well-known/jwks.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404},
		"a proxy's request":  {"GET http://other.example" + issuerKeys + " HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n", 200},
		"CONNECT":            {"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\nConnection: close\r\n\r\n", 404},
		"OPTIONS *":          {"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200},
		"an upgrade to h2c":  {"GET " + issuerKeys + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", 200},
		"TLS to plaintext":   {"\x16\x03\x01\x00\x05hello\r\n\r\n", 400},
		"a header that ends": {"GET " + issuerKeys + " HTTP/1.1\r\nHost: h\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the last one takes httpHeaderTime
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(2 * httpHeaderTime)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(conn, row.text) }()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				if timeout, ok := err.(net.Error); row.want != 0 || ok && timeout.Timeout() { //nolint:errorlint // as net/http returns it
					t.Error(err)
				}
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != row.want {
				t.Errorf("%d, want %d", resp.StatusCode, row.want)
			}
			if row.want != http.StatusOK || row.text[0] != 'G' {
				return
			}
			if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(body, []byte("kid-1")) {
				t.Errorf("%s, %v", body, err)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := r.mint(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Strangers who hold every connection that there is for them keep no caller out.
func TestStrangersHaveConnectionsOfTheirOwn(t *testing.T) {
	r := startReloadable(t, func(r *reloadable) string {
		return r.publishing("https://x.example/t", "{address: \"127.0.0.1:0\", max_connections: 2}")
	})
	address := r.publishedAt(t)
	var held []net.Conn
	for range 3 { // the third waits for a place
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		held = append(held, conn)
	}
	if _, err := io.WriteString(held[2], "GET "+issuerKeys+" HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := held[2].SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := held[2].Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("a connection too many was answered: %v", err)
	}
	if _, err := r.mint(); err != nil {
		t.Error(err)
	}
	_ = held[0].Close()
	if err := held[2].SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := held[2].Read(make([]byte, 1)); err != nil {
		t.Errorf("after a place came free: %v", err)
	}
}

// writeCertificate writes a certificate for 127.0.0.1, signed by itself, with
// its key, and returns the pool that trusts it.
func (r *reloadable) writeCertificate(t *testing.T) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "tokens"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.pem": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(r.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) {
		t.Fatal("no certificate")
	}
	return pool
}

func clientTrusting(pool *x509.CertPool) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

// A verifier that knows nothing but the issuer's URL finds the key and verifies
// a token: go-oidc, over TLS, with the server's own certificate.
func TestVerifierFindsTheKeysByDiscoveryOverTLS(t *testing.T) {
	port := freePort()
	issuer := "https://127.0.0.1:" + port + "/t"
	var pool *x509.CertPool
	section := fmt.Sprintf(`{address: "127.0.0.1:%s", certificate_file: DIR/tls.pem, key_file: DIR/tls.key}`, port)
	r := startReloadable(t, func(r *reloadable) string {
		pool = r.writeCertificate(t)
		return r.publishing(issuer, strings.ReplaceAll(section, "DIR", r.dir))
	})
	client := clientTrusting(pool)
	ctx := oidc.ClientContext(t.Context(), client)
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		t.Fatal(err)
	}
	minted, err := r.mint()
	if err != nil {
		t.Fatal(err)
	}
	token, err := provider.Verifier(&oidc.Config{ClientID: "a", SupportedSigningAlgs: []string{"ES256"}}).Verify(ctx, minted.GetToken())
	if err != nil || token.Issuer != issuer {
		t.Errorf("%v, %v", token, err)
	}

	resp, err := client.Get(issuer + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.TLS.Version != tls.VersionTLS13 || resp.ProtoMajor != 2 {
		t.Errorf("TLS %x, %s", resp.TLS.Version, resp.Proto)
	}
	old := clientTrusting(pool)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if resp, err := old.Get(issuer + "/.well-known/jwks.json"); err == nil {
		_ = resp.Body.Close()
		t.Error("TLS 1.2 is spoken")
	}

	shown := r.server.state().Certificates
	if len(shown) != 1 || shown[0].Listener != "127.0.0.1:"+port || !shown[0].NotAfter.After(time.Now()) {
		t.Errorf("certificates %v", shown)
	}

	// Another certificate is taken up, and a bad one is not.
	next := r.writeCertificate(t)
	if err := r.server.reloader.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, clientTrusting(next), issuer+"/.well-known/jwks.json"); status != http.StatusOK {
		t.Errorf("with the new certificate: %d", status)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "tls.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.server.reloader.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate of 127.0.0.1") {
		t.Errorf("without a certificate: %v", err)
	}
	if status, _ := get(t, clientTrusting(next), issuer+"/.well-known/jwks.json"); status != http.StatusOK {
		t.Errorf("after the bad one: %d", status)
	}
}

// A server that stops answers what is under way, and nobody afterwards.
func TestPublisherStopsWithTheServer(t *testing.T) {
	var address string
	t.Run("while it runs", func(t *testing.T) {
		_, address = startPublisher(t, "https://x.example/t")
		if status, _ := get(t, http.DefaultClient, "http://"+address+issuerKeys); status != http.StatusOK {
			t.Error(status)
		}
	})
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", address)
	if err == nil {
		_ = conn.Close()
		t.Error("somebody still listens")
	}
}
