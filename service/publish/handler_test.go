package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// shown is a site behind its handler.
type shown struct {
	site    atomic.Pointer[Site]
	log     bytes.Buffer
	counted []int // statuses
	handler http.Handler
}

// show shows issuers of one key each at the root and at /big, the latter with so
// many keys that gzip is shorter.
func show(t *testing.T) *shown {
	t.Helper()
	s := &shown{}
	keys := map[string][]Key{"a": {newKey(t, "a")}}
	for i := range 8 {
		keys["b"] = append(keys["b"], newKey(t, "b"+string(rune('0'+i))))
	}
	s.site.Store(build(t, Plan{
		Issuers: []Issuer{{URL: "https://x.example", Keys: []string{"a"}}, {URL: "https://x.example/big", Keys: []string{"b"}}},
		Keys:    []string{"away"},
	}, keys))
	s.handler = Handler(func(context.Context) *Site { return s.site.Load() }, func(status int) { s.counted = append(s.counted, status) }, slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return s
}

// ask asks as a verifier would; each header is "Name: value".
func (s *shown) ask(method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", http.NoBody)
	r.URL = mustParse(target)
	r.RequestURI = target
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

const (
	small = "/.well-known/jwks.json"
	big   = "/big/.well-known/jwks.json"
)

func TestGetServesTheDocumentWithWhatCachesNeed(t *testing.T) {
	s := show(t)
	resp := s.ask("GET", small)
	body := resp.Body.Bytes()
	if want := s.site.Load().at(small).Body; !bytes.Equal(body, want) {
		t.Errorf("%s", body)
	}
	for name, want := range map[string]string{
		"Content-Type":                  "application/jwk-set+json",
		"Cache-Control":                 "public, max-age=300, must-revalidate",
		"Vary":                          "Accept-Encoding",
		"Access-Control-Allow-Origin":   "*",
		"Access-Control-Expose-Headers": "ETag",
		"X-Content-Type-Options":        "nosniff",
		"Content-Encoding":              "",
		"Set-Cookie":                    "",
	} {
		if got := resp.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if etag := resp.Header().Get("ETag"); !strings.HasPrefix(etag, `"`) || len(etag) < 20 {
		t.Errorf("ETag %s is not strong", etag)
	}
	if resp := s.ask("GET", "/.well-known/openid-configuration?x=y"); resp.Code != 200 || resp.Header().Get("Content-Type") != "application/json" {
		t.Errorf("metadata: %v", resp)
	}
}

func TestRequestsGetTheirStatus(t *testing.T) {
	s := show(t)
	etag := s.ask("GET", small).Header().Get("ETag")
	zipped := s.ask("GET", big, "Accept-Encoding: gzip").Header().Get("ETag")
	for _, row := range []struct {
		name, method, target string
		headers              []string
		want                 int
	}{
		{"the same ETag", "GET", small, []string{"If-None-Match: " + etag}, 304},
		{"the same, weak, in a list", "GET", small, []string{`If-None-Match: "x", W/` + etag + `, "y"`}, 304},
		{"any ETag", "GET", small, []string{"If-None-Match: *"}, 304},
		{"another ETag", "GET", small, []string{`If-None-Match: "x"`}, 200},
		{"what is no ETag", "GET", small, []string{"If-None-Match: x"}, 200},
		{"a HEAD of the same", "HEAD", small, []string{"If-None-Match: " + etag}, 304},
		{"the ETag of another encoding", "GET", big, []string{"If-None-Match: " + zipped}, 200},
		{"the ETag of this encoding", "GET", big, []string{"If-None-Match: " + zipped, "Accept-Encoding: gzip"}, 304},
		{"a date alone", "GET", small, []string{"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"}, 200},
		{"an If-Match", "GET", small, []string{`If-Match: "x"`}, 412},
		{"HEAD", "HEAD", small, nil, 200},
		{"a key away", "GET", "/keys/away/jwks.json", nil, 503},
		{"preflight", "OPTIONS", small, []string{"Origin: https://spa.example", "Access-Control-Request-Method: GET"}, 204},
		{"preflight of nothing", "OPTIONS", "/other", nil, 404},
		{"POST", "POST", small, nil, 405},
		{"PUT", "PUT", small, nil, 405},
		{"DELETE", "DELETE", small, nil, 405},
		{"TRACE", "TRACE", small, nil, 405},
		{"a method of nobody", "BREW", small, nil, 405},
		{"get in lower case", "get", small, nil, 405},
		{"POST to nothing", "POST", "/other", nil, 404},
		{"the root", "GET", "/", nil, 404},
		{"a directory", "GET", "/.well-known/", nil, 404},
		{"a directory's name", "GET", "/.well-known", nil, 404},
		{"a slash behind", "GET", small + "/", nil, 404},
		{"two slashes", "GET", "//.well-known/jwks.json", nil, 404},
		{"two slashes within", "GET", "/.well-known//jwks.json", nil, 404},
		{"dots", "GET", "/big/../.well-known/jwks.json", nil, 404},
		{"a dot", "GET", "/./.well-known/jwks.json", nil, 404},
		{"dots, encoded", "GET", "/big/%2e%2e/.well-known/jwks.json", nil, 404},
		{"a dot, encoded", "GET", "/%2ewell-known/jwks.json", nil, 404},
		{"a letter, encoded", "GET", "/.well-known/jwks.jso%6E", nil, 404},
		{"a slash, encoded", "GET", "/.well-known%2Fjwks.json", nil, 404},
		{"another case", "GET", "/.WELL-KNOWN/JWKS.JSON", nil, 404},
		{"a backslash", "GET", "/.well-known\\jwks.json", nil, 404},
		{"a NUL", "GET", "/.well-known/jwks.json%00", nil, 404},
		{"a file above", "GET", "/../../etc/passwd", nil, 404},
		{"another host", "GET", "http://evil.example" + small, nil, 200},
	} {
		resp := s.ask(row.method, row.target, row.headers...)
		if got := s.counted[len(s.counted)-1]; got != resp.Code {
			t.Errorf("%s: counted as %d", row.name, got)
		}
		if resp.Code != row.want {
			t.Errorf("%s: %d, want %d", row.name, resp.Code, row.want)
		}
		body := resp.Body.Bytes()
		header := resp.Header()
		switch row.want {
		case 200, 304:
			if header.Get("ETag") == "" || header.Get("Vary") != "Accept-Encoding" || !strings.HasPrefix(header.Get("Cache-Control"), "public, max-age=300") {
				t.Errorf("%s: %v", row.name, header)
			}
			if row.method == "HEAD" && (header.Get("Content-Type") == "" && row.want == 200 || len(body) > 0) {
				t.Errorf("%s: %v, %s", row.name, header, body)
			}
			if row.want == 304 && (len(body) > 0 || header.Get("Content-Encoding") != "") {
				t.Errorf("%s: %v, %s", row.name, header, body)
			}
		case 204:
			if header.Get("Access-Control-Allow-Methods") != allow || header.Get("Access-Control-Allow-Headers") != "*" || header.Get("Allow") != allow || header.Get("Access-Control-Max-Age") == "" || len(body) > 0 {
				t.Errorf("%s: %v", row.name, header)
			}
		case 405:
			if header.Get("Allow") != allow {
				t.Errorf("%s: %v", row.name, header)
			}
		case 503:
			if header.Get("Retry-After") == "" {
				t.Errorf("%s: %v", row.name, header)
			}
		}
		if row.want >= 400 && row.want != 412 && header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %v", row.name, header)
		}
		if header.Get("Access-Control-Allow-Origin") != "*" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", row.name, header)
		}
		if strings.Contains(string(body), row.target) && row.want >= 400 {
			t.Errorf("%s: what was asked for comes back: %s", row.name, body)
		}
	}
	if text := s.log.String(); strings.Contains(text, "passwd") || !strings.Contains(text, `"msg":"published","method":"GET","path":"/.well-known/jwks.json","code":304`) {
		t.Errorf("log: %s", text)
	}
}

func TestGzipIsAnotherRepresentationOfTheSame(t *testing.T) {
	s := show(t)
	want := s.site.Load().at(big).Body
	plain := s.ask("GET", big)
	zipped := s.ask("GET", big, "Accept-Encoding: gzip")
	if zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Header().Get("ETag") == plain.Header().Get("ETag") || zipped.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v", zipped.Header())
	}
	short := zipped.Body.Bytes()
	r, err := gzip.NewReader(bytes.NewReader(short))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) || len(short) >= len(want) {
		t.Errorf("%d bytes of %d, %v: %s", len(short), len(want), err, got)
	}
	if !bytes.Equal(plain.Body.Bytes(), want) {
		t.Error("the plain one differs")
	}
	again := s.ask("HEAD", big, "Accept-Encoding: gzip")
	if again.Header().Get("ETag") != zipped.Header().Get("ETag") || again.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("HEAD: %v", again.Header())
	}
}

func TestAcceptEncodingIsReadAsRFC9110Says(t *testing.T) {
	for accepted, want := range map[string]bool{
		"":                                  false,
		"gzip":                              true,
		"GZIP":                              true,
		"x-gzip":                            true,
		"gzip, deflate, br, zstd":           true,
		"br;q=1.0, gzip;q=0.8, *;q=0.1":     true,
		"deflate , gzip ; q=0.5":            true,
		"gzip;q=0":                          false,
		"gzip;q=0.000":                      false,
		"gzip;q=0, *":                       false,
		"*":                                 true,
		"*;q=0":                             false,
		"br":                                false,
		"identity":                          false,
		"identity;q=0.5, gzip;q=1":          true,
		"identity;q=1, gzip;q=0.5":          false,
		"identity;q=0, gzip;q=0.001":        true,
		"gzip;q=1.001":                      false,
		"gzip;q=2":                          false,
		"gzip;q=-1":                         false,
		"gzip;q=0.1234":                     false,
		"gzip;q=":                           false,
		"gzip;q=0.5;q=0.5":                  false,
		"gzip;level=9":                      false,
		"gzip;":                             false,
		",,,":                               false,
		"gzipped":                           false,
		strings.Repeat("gzip;q=0,", 5000):   false,
		strings.Repeat("a,", 5000) + "gzip": true,
	} {
		if got := takesGzip(accepted); got != want {
			t.Errorf("%.60q: %v", accepted, got)
		}
	}
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, accepted := range []string{"gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1", "identity;q=0", "gzip;q=0.0001"} {
		f.Add(accepted)
	}
	f.Fuzz(func(t *testing.T, accepted string) {
		lower := strings.ToLower(accepted)
		if takesGzip(accepted) && !strings.Contains(lower, "gzip") && !strings.Contains(lower, "*") {
			t.Errorf("%q takes gzip", accepted)
		}
		if takesGzip(accepted) != takesGzip(accepted+",br") {
			t.Errorf("%q is read otherwise with br behind it", accepted)
		}
	})
}

// What is asked for next is of the site that is there then.
func TestHandlerFollowsTheSite(t *testing.T) {
	s := show(t)
	before := s.ask("GET", small).Header().Get("ETag")
	s.site.Store(build(t, Plan{Issuers: []Issuer{{URL: "https://x.example", Keys: []string{"a"}}}}, map[string][]Key{"a": {newKey(t, "a")}}))
	if resp := s.ask("GET", small, "If-None-Match: "+before); resp.Code != 200 || resp.Header().Get("ETag") == before {
		t.Errorf("%d with %s", resp.Code, resp.Header().Get("ETag"))
	}
	if resp := s.ask("GET", big); resp.Code != 404 {
		t.Errorf("what is gone: %d", resp.Code)
	}
}

// mustParse reads a request's target as net/http does.
func mustParse(target string) *url.URL {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return &url.URL{Path: target}
	}
	return u
}
