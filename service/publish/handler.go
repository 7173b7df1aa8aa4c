package publish

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"time"
)

// What a path is answered with, beside the documents themselves.
const (
	allow = "GET, HEAD, OPTIONS"
	// preflightAge is for how long a browser need not ask again whether it may
	// ask, in seconds.
	preflightAge = "86400"
)

// Handler answers GET, HEAD and OPTIONS for the documents of the site that site
// returns at that moment, and tells count the status. It is for everybody, scripts of any web page included:
// it takes no credentials, and all that it has is public.
//
// A path is known as it is written or not at all: none is cleaned, decoded or
// redirected.
func Handler(site func(context.Context) *Site, count func(status int), log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w, code: http.StatusOK}
		site(r.Context()).serve(answer, r)
		count(answer.code)
		path := r.URL.EscapedPath()
		if answer.code == http.StatusNotFound {
			path = "[unknown]"
		}
		// At the level of debugging, for strangers would fill the log.
		log.DebugContext(r.Context(), "published", "method", r.Method, "path", path, "code", answer.code)
	})
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "ETag")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	page, ok := s.pages[r.URL.EscapedPath()]
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		page.serve(w, r)
	case http.MethodOptions:
		header.Set("Allow", allow)
		header.Set("Access-Control-Allow-Methods", allow)
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", preflightAge)
		w.WriteHeader(http.StatusNoContent)
	default:
		header.Set("Allow", allow)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// serve answers GET and HEAD.
func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	if p.plain.body == nil {
		header.Set("Retry-After", "1")
		http.Error(w, "no key has been read from its store yet", http.StatusServiceUnavailable)
		return
	}
	chosen, encoding := p.choose(r.Header.Values("Accept-Encoding"))
	header.Set("Content-Type", p.mediaType)
	header.Set("Cache-Control", p.cacheControl)
	header.Set("Vary", "Accept-Encoding")
	header.Set("ETag", chosen.etag)
	if encoding != "" {
		header.Set("Content-Encoding", encoding)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(chosen.body))
}
