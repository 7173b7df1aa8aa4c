package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// start is when the fake clock starts.
var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fakeClock is a clock that stands until it is moved.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// log collects what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// provider is a fake issuer over HTTPS, for faults that no real one gives.
type provider struct {
	*httptest.Server
	discovered, asked atomic.Int32 // requests for the discovery document and for the JWK Set

	mu        sync.Mutex
	keys      []any
	discovery func(w http.ResponseWriter, r *http.Request) // in the place of the document
	jwks      func(w http.ResponseWriter, r *http.Request) // in the place of the JWK Set
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		p.discovered.Add(1)
		p.mu.Lock()
		instead := p.discovery
		p.mu.Unlock()
		if instead != nil {
			instead(w, r)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"other":[{"a":1}]}`, p.URL, p.URL+"/jwks")
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		instead, keys := p.jwks, p.keys
		p.mu.Unlock()
		if instead != nil {
			instead(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) publish(keys ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *provider) answer(discovery, jwks http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discovery, p.jwks = discovery, jwks
}

func (p *provider) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
}

// down answers 503.
func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

// signer makes tokens.
type signer struct {
	kid, alg string
	key      crypto.Signer
}

func newSigner(t testing.TB, kid, alg string) *signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case "RS256", "PS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid, alg, key}
}

func (s *signer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid, Use: "sig", Algorithm: s.alg}
}

// sign signs claims under a plain header.
func (s *signer) sign(t testing.TB, claims any) string {
	t.Helper()
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return s.raw(t, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, s.alg, s.kid), string(data))
}

// raw signs any header and payload by the signer's own algorithm, whatever the
// header says.
func (s *signer) raw(t testing.TB, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := s.key.(type) {
	case *rsa.PrivateKey:
		if s.alg == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		}
	case *ecdsa.PrivateKey:
		hash, size := digest[:], 32
		if s.alg == "ES384" {
			h := crypto.SHA384.New()
			h.Write([]byte(input))
			hash, size = h.Sum(nil), 48
		}
		r, v, signErr := ecdsa.Sign(rand.Reader, key, hash)
		if err = signErr; err == nil {
			signature = append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// world is a Verifier over a provider.
type world struct {
	*provider
	t        testing.TB
	clock    *fakeClock
	log      *logged
	keys     *Keys
	issuer   Issuer
	verifier *Verifier
	signer   *signer
}

// newWorld returns a Verifier of one issuer that publishes one key.
func newWorld(t testing.TB, change func(*Issuer)) *world {
	t.Helper()
	p, signer := newProvider(t), newSigner(t, "k1", "ES256")
	p.publish(signer.jwk())
	return newWorldOf(t, p, signer, change)
}

// newWorldOf returns a Verifier of a provider, which has fetched nothing yet.
func newWorldOf(t testing.TB, p *provider, signer *signer, change func(*Issuer)) *world {
	t.Helper()
	w := &world{t: t, provider: p, clock: &fakeClock{now: start}, log: &logged{}, signer: signer}
	w.keys = NewKeys(KeysConfig{
		Now: w.clock.Now, Random: rand.Reader,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(w.keys.Close)
	w.issuer = Issuer{
		Name: "fake", URL: w.URL, Audiences: []string{"https://jotsmith.example", "other"}, CAPEM: w.ca(),
		MinRefresh: time.Minute, MaxStale: time.Hour,
	}
	if change != nil {
		change(&w.issuer)
	}
	w.verifier = w.make()
	return w
}

func (w *world) make() *Verifier {
	w.t.Helper()
	v, err := w.keys.Verifier([]Issuer{w.issuer})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// claims are those of a good token, with changes; nil takes one away.
func (w *world) claims(changes map[string]any) map[string]any {
	now := w.clock.Now().Unix()
	claims := map[string]any{
		"iss": w.URL, "sub": "repo:example/app:ref:refs/heads/main", "aud": "https://jotsmith.example",
		"iat": now, "nbf": now, "exp": now + 3600,
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func (w *world) token(changes map[string]any) string {
	w.t.Helper()
	return w.signer.sign(w.t, w.claims(changes))
}

// accepts says whether a token makes a caller known now.
func (w *world) accepts(token string) bool {
	w.t.Helper()
	caller, err := w.verifier.Caller(w.t.Context(), token)
	if caller.Known() != (err == nil) {
		w.t.Fatalf("%v, %v", caller, err)
	}
	return err == nil
}

func (w *world) wantAccepted(token, when string) {
	w.t.Helper()
	if caller, err := w.verifier.Caller(w.t.Context(), token); err != nil || !caller.Known() {
		w.t.Errorf("%s: refused: %v", when, err)
	}
}

func (w *world) wantRefused(token, when string) {
	w.t.Helper()
	if w.accepts(token) {
		w.t.Errorf("%s: accepted", when)
	}
}

func (w *world) wantAsked(want int32, when string) {
	w.t.Helper()
	if got := w.asked.Load(); got != want {
		w.t.Errorf("%s: the provider was asked %d times, want %d", when, got, want)
	}
}

// settle waits for the fetches under way.
func (w *world) settle() {
	w.t.Helper()
	for _, i := range w.verifier.issuers {
		i.keys.mu.Lock()
		running := i.keys.running
		i.keys.mu.Unlock()
		if running != nil {
			<-running
		}
	}
}
