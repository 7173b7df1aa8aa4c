package proxy

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

// adding puts a token into a request, as the library's Transport does.
type adding struct{ err error }

func (a adding) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer minted")
	return http.DefaultTransport.RoundTrip(r)
}

// start returns a proxy's address and what it logs. What is in change is set.
func start(t *testing.T, upstream http.HandlerFunc, change func(*Config)) (*httptest.Server, *strings.Builder) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	front := httptest.NewUnstartedServer(nil)
	cfg := Config{
		To: to, Transport: adding{}, Hosts: []string{front.Listener.Addr().String()}, MaxCalls: 2,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	front.Config.Handler = New(cfg)
	front.Start()
	t.Cleanup(front.Close)
	return front, log
}

// reply is an answer, whose body the test closes.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader
}

// raw sends bytes and returns the answer.
func raw(t *testing.T, front *httptest.Server, request string) reply {
	t.Helper()
	conn, err := front.Client().Transport.(*http.Transport).DialContext(t.Context(), "tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return reply{resp.StatusCode, resp.Header, resp.Body}
}

func TestRequestsGoOnWithTheTokenAlone(t *testing.T) {
	front, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Proxy-Authorization", "X-Hop", "Connection"} {
			if r.Header[name] != nil {
				t.Errorf("%s was sent on", name)
			}
		}
		if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer minted" {
			t.Errorf("Authorization: %q", got)
		}
		w.Header().Set("Location", "https://elsewhere.example.org/")
		w.WriteHeader(http.StatusTemporaryRedirect)
		io.WriteString(w, r.Method+" "+r.Host+" "+r.URL.RequestURI()+" "+string(body))
	}, nil)
	to := "127.0.0.1"
	resp := raw(t, front, "POST /v1/a%2Fb?q=1 HTTP/1.1\nHost: "+front.Listener.Addr().String()+
		"\nAuthorization: Bearer mine\nProxy-Authorization: Basic eA==\nX-Forwarded-For: 1.2.3.4\nForwarded: for=1\nConnection: X-Hop, Authorization\nX-Hop: 1\nContent-Length: 4\n\nbody")
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusTemporaryRedirect { // which is for the client to follow, without the token
		t.Errorf("status %d", resp.StatusCode)
	}
	if got := string(body); !strings.HasPrefix(got, "POST "+to) || !strings.HasSuffix(got, " /v1/a%2Fb?q=1 body") || strings.Contains(got, front.Listener.Addr().String()) {
		t.Errorf("sent on: %s", got)
	}
}

func TestOthersThanProgramsAreRefused(t *testing.T) {
	front, _ := start(t, func(http.ResponseWriter, *http.Request) { t.Error("a request went on") }, nil)
	host := "\nHost: " + front.Listener.Addr().String()
	for name, test := range map[string]struct {
		request string
		code    int
	}{
		"a page that knows the port":     {"GET / HTTP/1.1" + host + "\nSec-Fetch-Site: cross-site", http.StatusForbidden},
		"a navigation":                   {"GET / HTTP/1.1" + host + "\nSec-Fetch-Site: none", http.StatusForbidden},
		"a form of another origin":       {"POST / HTTP/1.1" + host + "\nOrigin: https://evil.example\nContent-Length: 0", http.StatusForbidden},
		"an opaque origin":               {"POST / HTTP/1.1" + host + "\nOrigin: null\nContent-Length: 0", http.StatusForbidden},
		"a preflight":                    {"OPTIONS / HTTP/1.1" + host + "\nOrigin: https://evil.example\nAccess-Control-Request-Method: GET", http.StatusForbidden},
		"a name bound to this address":   {"GET / HTTP/1.1\nHost: evil.example:80", http.StatusMisdirectedRequest},
		"another port":                   {"GET / HTTP/1.1\nHost: 127.0.0.1:1", http.StatusMisdirectedRequest},
		"no Host":                        {"GET / HTTP/1.0", http.StatusMisdirectedRequest},
		"a tunnel":                       {"CONNECT evil.example:443 HTTP/1.1\nHost: evil.example:443", http.StatusMethodNotAllowed},
		"a forward proxy's request":      {"GET http://evil.example/ HTTP/1.1" + host, http.StatusBadRequest},
		"its own address as a forward's": {"GET http://" + front.Listener.Addr().String() + "/ HTTP/1.1" + host, http.StatusBadRequest},
		"an asterisk":                    {"OPTIONS * HTTP/1.1" + host, http.StatusOK}, // net/http's own answer, which says nothing
		"another protocol":               {"GET / HTTP/1.1" + host + "\nConnection: Upgrade\nUpgrade: websocket", http.StatusNotImplemented},
		"an echo of the token":           {"TRACE / HTTP/1.1" + host, http.StatusMethodNotAllowed},
		"a way up":                       {"GET /v1/../admin HTTP/1.1" + host, http.StatusBadRequest},
		"an encoded way up":              {"GET /v1/%2e%2e/admin HTTP/1.1" + host, http.StatusBadRequest},
		"a way up by backslashes":        {"GET /v1/..%5Cadmin HTTP/1.1" + host, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			resp := raw(t, front, test.request+"\n\n")
			if resp.StatusCode != test.code || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%d, want %d", resp.StatusCode, test.code)
			}
		})
	}
}

func TestASecretGoesAheadOfThePath(t *testing.T) {
	front, log := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.RequestURI()) },
		func(c *Config) { c.Secret = "s3cret-s3cret-s3cret"; c.To.Path = "/base" })
	host := " HTTP/1.1\nHost: " + front.Listener.Addr().String() + "\n\n"
	resp := raw(t, front, "GET /s3cret-s3cret-s3cret/v1/a%2Fb"+host)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "/base/v1/a%2Fb" {
		t.Errorf("%v: %s", err, body)
	}
	for _, path := range []string{"/", "/v1/apps", "/s3cret", "/s3cret-s3cret-s3crets", "//s3cret-s3cret-s3cret"} {
		if resp := raw(t, front, "GET "+path+host); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("logged: %s", log)
	}
}

func TestAnswersAreStreamedAndBounded(t *testing.T) {
	release := make(chan struct{})
	front, _ := start(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-release
	}, nil)
	request := "GET / HTTP/1.1\nHost: " + front.Listener.Addr().String() + "\n\n"
	for range 2 { // both places, each with the first piece of an answer that is not over
		line, err := bufio.NewReader(raw(t, front, request).Body).ReadString('\n')
		if err != nil || line != "first\n" {
			t.Fatalf("%v: %q", err, line)
		}
	}
	if resp := raw(t, front, request); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a third one: %d", resp.StatusCode)
	}
	close(release)
}

func TestFaultsSayWhatTheyAre(t *testing.T) {
	for name, test := range map[string]struct {
		err         error
		code        int
		retry, body string
	}{
		"server away":   {errors.New("dial tcp: refused"), http.StatusBadGateway, "", "did not answer"},
		"jotsmith away": {&jotsmithgo.Error{Reason: "OVERLOADED", Retryable: true, RetryAfter: 1500 * time.Millisecond}, http.StatusServiceUnavailable, "2", "OVERLOADED"},
		"no grant":      {&jotsmithgo.Error{Reason: "NOT_GRANTED"}, http.StatusBadGateway, "", "NOT_GRANTED"},
	} {
		t.Run(name, func(t *testing.T) {
			front, log := start(t, nil, func(c *Config) { c.Transport = adding{test.err} })
			resp := raw(t, front, "GET /private?x=y HTTP/1.1\nHost: "+front.Listener.Addr().String()+"\n\n")
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != test.code || resp.Header.Get("Retry-After") != test.retry || !strings.Contains(string(body), test.body) {
				t.Errorf("%d %q %s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
			}
			if strings.Contains(log.String(), "private") || !strings.Contains(log.String(), "failed") {
				t.Errorf("logged: %s", log)
			}
		})
	}
}
