package doctor

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jotsmith/jotsmith/service/publish"
)

// verifierSees serves documents over TLS; $URL in them is the server's own.
func verifierSees(t *testing.T, documents map[string]string) *httptest.Server {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := documents[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "$URL", s.URL))) // to a test
	}))
	t.Cleanup(s.Close)
	return s
}

// compare walks to a set and compares it.
func compare(t *testing.T, f fetcher, base string, issuer publish.Issuer, keys []known) []Finding {
	t.Helper()
	set, findings := walk(t.Context(), f, "issuer", base, issuer.URL)
	if set == nil {
		return findings
	}
	wanted, complete := wantedOf(issuer, keys)
	return append(findings, compareSet("issuer", *set, wanted, complete)...)
}

func jwks(t *testing.T, keys ...publish.Key) string {
	t.Helper()
	texts := make([]string, len(keys))
	for i, k := range keys {
		text, err := k.JWK()
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = text
	}
	return `{"keys":[` + strings.Join(texts, ",") + `]}`
}

func TestWhatVerifiersFetchIsCompared(t *testing.T) {
	one, two := &issue(t, nil, "one", ca).key.PublicKey, &issue(t, nil, "two", ca).key.PublicKey
	const well = `{"issuer":"$URL","jwks_uri":"$URL/keys"}`
	right := jwks(t, publish.Key{KID: "k1", PublicKey: one})
	for name, tc := range map[string]struct {
		discovery, set string
		want           []string
	}{
		"well":            {well, right, nil},
		"another issuer":  {`{"issuer":"https://other.example","jwks_uri":"$URL/keys"}`, right, []string{`error says issuer "https://other.example"`}},
		"plain HTTP":      {`{"issuer":"$URL","jwks_uri":"http://127.0.0.1/keys"}`, right, []string{"error not https"}},
		"no JSON":         {`<html>`, right, []string{"error is no JSON"}},
		"no set":          {well, `[]`, []string{"error is no JWK Set"}},
		"set elsewhere":   {`{"issuer":"$URL","jwks_uri":"$URL/none"}`, right, []string{"error 404 Not Found"}},
		"lacks the kid":   {well, jwks(t), []string{`error lacks kid "k1" of key k`}},
		"another key":     {well, jwks(t, publish.Key{KID: "k1", PublicKey: two}), []string{`error another key under kid "k1"`}},
		"a key too many":  {well, jwks(t, publish.Key{KID: "k1", PublicKey: one}, publish.Key{KID: "k2", PublicKey: two}), []string{`warning has kid "k2", which the configuration does not`}},
		"twice, one well": {well, jwks(t, publish.Key{KID: "k1", PublicKey: two}, publish.Key{KID: "k1", PublicKey: one}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := verifierSees(t, map[string]string{discovery: tc.discovery, "/keys": tc.set})
			issuer := publish.Issuer{URL: s.URL, Keys: []string{"k"}}
			got := compare(t, fetcher{s.Client(), ""}, s.URL, issuer, []known{{"k", "k1", one}, {"other", "o", two}})
			wantFindings(t, got, tc.want...)
		})
	}
	s := verifierSees(t, nil)
	wantFindings(t, compare(t, fetcher{s.Client(), ""}, s.URL, publish.Issuer{URL: s.URL}, nil), "error the discovery document: ")
	s.Close()
	wantFindings(t, compare(t, fetcher{s.Client(), ""}, s.URL, publish.Issuer{URL: s.URL}, nil), "warning cannot be reached from here")
}

// A key that was not read may be any of those that are published.
func TestKidsAreTooManyOnlyWhereAllKeysAreKnown(t *testing.T) {
	one := &issue(t, nil, "one", ca).key.PublicKey
	s := verifierSees(t, map[string]string{
		discovery: `{"issuer":"$URL","jwks_uri":"$URL/keys"}`, "/keys": jwks(t, publish.Key{KID: "k1", PublicKey: one}, publish.Key{KID: "in-an-hsm", PublicKey: one}),
	})
	issuer := publish.Issuer{URL: s.URL, Keys: []string{"hsm", "k"}}
	wantFindings(t, compare(t, fetcher{s.Client(), ""}, s.URL, issuer, []known{{"k", "k1", one}}))
}

func TestLocalListenerIsFollowedHere(t *testing.T) {
	one := &issue(t, nil, "one", ca).key.PublicKey
	site, err := publish.Plan{Issuers: []publish.Issuer{{URL: "https://id.example.org", Keys: []string{"k"}}}}.Build(func(string) []publish.Key {
		return []publish.Key{{KID: "k1", PublicKey: one}}
	})
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]string{}
	for _, d := range site.Documents() {
		documents[d.Path] = string(d.Body)
	}
	s := verifierSees(t, documents)
	address := s.Listener.Addr().(*net.TCPAddr).String()
	shown := pemFile(t, &issued{Certificate: s.Certificate()})
	exam := func(certificate string) *Exam {
		key := issue(t, nil, "x", ca).keyFile(t, 0o600)
		return examOf(t, plain+"publish: {address: \""+address+"\", certificate_file: "+certificate+", key_file: "+key+"}")
	}
	wantFindings(t, exam(shown).published(t.Context(), []known{{"k", "k1", one}}), "note was not looked at")

	// What verifiers get is compared with what the server publishes, also of a
	// key that could not be read.
	remote := maps.Clone(documents)
	remote["/.well-known/jwks.json"] = jwks(t, publish.Key{KID: "old", PublicKey: one})
	front := verifierSees(t, remote)
	e := exam(shown)
	e.Consumers, e.HTTP = true, &http.Client{Transport: at{front}}
	wantFindings(t, e.published(t.Context(), nil), `error lacks kid "k1" of key of the server`, `warning has kid "old"`)
	other := pemFile(t, issue(t, nil, "other", ca))
	wantFindings(t, exam(other).published(t.Context(), []known{{"k", "k1", one}}), "error the server shows another certificate", "note was not looked at")
	s.Close()
	wantFindings(t, exam(shown).published(t.Context(), nil), "note nobody answers there", "note was not looked at")
}

func TestNobodyIsFollowedToPlainHTTP(t *testing.T) {
	s := httptest.NewTLSServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	t.Cleanup(s.Close)
	client := Client()
	client.Transport = s.Client().Transport
	resp, err := client.Get(s.URL)
	if err == nil || !strings.Contains(err.Error(), "it redirects to http") {
		t.Errorf("%v, %v", resp, err)
	}
	if resp != nil {
		_ = resp.Body.Close() // of an answer that nobody follows
	}
}

func FuzzPublishedDocuments(f *testing.F) {
	f.Add(`{"issuer":"https://id.example.org","jwks_uri":"https://id.example.org/keys"}`, `{"keys":[]}`)
	f.Add(`{}`, `{"keys":[{"kty":"EC","kid":"k1"}]}`)
	f.Fuzz(func(t *testing.T, document, set string) {
		client := &http.Client{Transport: canned{document, set}}
		findings := compare(t, fetcher{client, ""}, "https://id.example.org", publish.Issuer{URL: "https://id.example.org"}, nil)
		if _, err := json.Marshal(findings); err != nil {
			t.Errorf("%v: %+v", err, findings)
		}
	})
}

// at has every host's name lead to one server.
type at struct{ *httptest.Server }

func (a at) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = a.Listener.Addr().String()
	return a.Client().Transport.RoundTrip(r)
}

// canned answers without a network.
type canned struct{ discovery, set string }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	body := c.set
	if r.URL.Path == discovery {
		body = c.discovery
	}
	_, err := recorder.WriteString(body)
	return recorder.Result(), err
}
