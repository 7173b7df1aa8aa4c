// Package proxy is a reverse proxy for the programs of one machine: it puts a token
// into their requests to one server.
//
// Whoever reaches it can do at that server what the token allows. So it answers
// programs alone: it refuses what a browser sends for a page, by its Origin and
// Sec-Fetch-Site headers, and by Host, which a page whose name was bound to the
// loopback address (DNS rebinding) cannot choose. It speaks to no other server,
// whatever a request says, and follows no redirect.
package proxy

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

// Config is what New needs.
type Config struct {
	// To is the server, with a path that goes ahead of each request's.
	To *url.URL
	// Transport puts the token into a request and sends it.
	Transport http.RoundTripper
	// Hosts are what Host may be; nil is anything, for a Unix socket, which no page
	// reaches.
	Hosts []string
	// Secret is the first segment that each path must have; empty asks for none.
	Secret string
	// MaxCalls is how many requests are under way at once.
	MaxCalls int
	// Log gets what goes wrong, without paths, headers and bodies.
	Log *slog.Logger
}

// maxRepeated is the longest body that is kept to be sent again after a 401.
const maxRepeated = 64 << 10

// proxy is the handler.
type proxy struct {
	Config
	places  chan struct{}
	forward *httputil.ReverseProxy
}

// New returns the proxy's handler. It is safe for concurrent use.
func New(cfg Config) http.Handler {
	p := &proxy{Config: cfg, places: make(chan struct{}, cfg.MaxCalls)}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       p.rewrite,
		Transport:     cfg.Transport,
		FlushInterval: -1, // each piece of an answer goes on as it comes
		ErrorHandler:  p.fault,
		ErrorLog:      slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return p
}

// ServeHTTP answers one request.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why, code := p.refuse(r); code != 0 {
		p.Log.WarnContext(r.Context(), "refused", "method", method(r), "why", why)
		http.Error(w, "jotsmith proxy: "+why, code)
		return
	}
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "jotsmith proxy: too many requests are under way", http.StatusServiceUnavailable)
		return
	}
	if err := repeatable(r); err != nil {
		http.Error(w, "jotsmith proxy: the request's body ended early", http.StatusBadRequest)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// refuse says why a request is not sent on, with the code to answer; 0 where it is.
func (p *proxy) refuse(r *http.Request) (why string, code int) {
	header := r.Header
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return "method not allowed", http.StatusMethodNotAllowed
	case r.URL.Host != "" || r.URL.Scheme != "" || !strings.HasPrefix(r.URL.Path, "/"):
		return "this is no forward proxy; send the path alone", http.StatusBadRequest
	case p.Hosts != nil && !slices.Contains(p.Hosts, strings.ToLower(r.Host)):
		return "Host is not the address of this proxy", http.StatusMisdirectedRequest
	case header["Origin"] != nil || header["Sec-Fetch-Site"] != nil:
		return "pages of browsers are not served", http.StatusForbidden
	case header["Upgrade"] != nil:
		return "no other protocol is spoken", http.StatusNotImplemented
	case !p.knows(r.URL.Path):
		return "the path does not begin with the secret", http.StatusNotFound
	case slices.ContainsFunc(strings.FieldsFunc(r.URL.Path, slash), dots):
		return "dots in a path are not followed", http.StatusBadRequest
	}
	return "", 0
}

func slash(r rune) bool { return r == '/' || r == '\\' }

func dots(segment string) bool { return segment == "." || segment == ".." }

// knows says whether a path begins with the secret.
func (p *proxy) knows(path string) bool {
	if p.Secret == "" {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return subtle.ConstantTimeCompare([]byte(first), []byte(p.Secret)) == 1
}

// rewrite makes the request that is sent on. The headers of a hop and X-Forwarded-*
// are gone by now, and Transport sets Authorization.
func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	if p.Secret != "" { // which is written as it is, in both forms of a path
		r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, "/"+p.Secret)
		r.Out.URL.RawPath = strings.TrimPrefix(r.Out.URL.RawPath, "/"+p.Secret)
	}
	r.SetURL(p.To)
	r.Out.Host = p.To.Host
	r.Out.Header.Del("Authorization")
	r.Out.Trailer = nil
}

// repeatable has a short body kept, so that it can be sent again.
func repeatable(r *http.Request) error {
	if r.ContentLength <= 0 || r.ContentLength > maxRepeated {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, err = r.GetBody()
	return err
}

// fault answers where there was no answer to send on.
func (p *proxy) fault(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil { // nobody waits for it
		return
	}
	p.Log.ErrorContext(r.Context(), "failed", "method", method(r), "error", err.Error())
	e, ok := errors.AsType[*jotsmithgo.Error](err)
	switch {
	case !ok:
		http.Error(w, "jotsmith proxy: the server did not answer", http.StatusBadGateway)
	case e.Retryable:
		wait := max(e.RetryAfter, time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		http.Error(w, e.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, e.Error(), http.StatusBadGateway)
	}
}

// method is a request's method as the log takes it.
func method(r *http.Request) string {
	if len(r.Method) > 16 {
		return "[too long]"
	}
	return r.Method
}
