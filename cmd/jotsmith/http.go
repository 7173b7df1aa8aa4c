package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/httpjson"
)

// protocol is what answers on a listener: a *grpc.Server, or an httpServer.
type protocol interface {
	// Serve answers until GracefulStop or Stop, and then returns nil.
	Serve(net.Listener) error
	// GracefulStop refuses new connections and waits for what is under way.
	GracefulStop()
	// Stop ends what is under way, and so a GracefulStop that waits for it.
	Stop()
}

// The bounds of one HTTP connection. The requests have no bodies that anybody
// wants, but for those of calls, and what is answered is small.
const (
	httpHeaderTime = 5 * time.Second  // from a request's first byte to the end of its headers
	httpReadTime   = 10 * time.Second // to the end of its body
	httpWriteTime  = 30 * time.Second // to the end of the answer
	httpIdleTime   = 2 * time.Minute  // between two requests: longer than between two scrapes
	httpMaxHeader  = 12 << 10         // to which net/http adds 4 KiB
	httpMaxBody    = 4 << 10
)

// httpServer is an http.Server with every bound set.
type httpServer struct {
	server   *http.Server
	shutdown func() // without a limit of its own: Stop ends it
}

// newCallServer returns a server of calls in JSON, whose callers the credentials make
// known. longest is how long a call may take.
func newCallServer(ctx context.Context, svc *service.Service, calls *configv1.HttpCalls, creds credentials.TransportCredentials, longest time.Duration, log *slog.Logger) *callServer {
	h := newHTTPServer(ctx, nil, log)
	h.server.Handler = recovering(service.NewHTTPHandler(svc, calls.GetAllowedOrigins(), log), log)
	h.server.ConnContext = httpjson.ConnContext
	h.server.WriteTimeout = httpReadTime + longest + httpWriteTime // it begins with a request's headers
	return &callServer{h, svc.Told(creds)}
}

type callServer struct {
	*httpServer
	creds credentials.TransportCredentials
}

// Serve answers until the server stops.
func (s *callServer) Serve(l net.Listener) error {
	return s.httpServer.Serve(httpjson.Listen(l, s.creds))
}

// newHTTPServer returns a server of handler. Requests have the values of ctx
// and not its end: they may finish when the server stops.
func newHTTPServer(ctx context.Context, handler http.Handler, log *slog.Logger) *httpServer {
	ctx = context.WithoutCancel(ctx)
	server := &http.Server{
		Handler:           http.MaxBytesHandler(recovering(handler, log), httpMaxBody),
		ReadHeaderTimeout: httpHeaderTime,
		ReadTimeout:       httpReadTime,
		WriteTimeout:      httpWriteTime,
		IdleTimeout:       httpIdleTime,
		MaxHeaderBytes:    httpMaxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// What strangers send is not worth more.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return &httpServer{server, func() { _ = server.Shutdown(ctx) }} // which says no more than that a listener was closed
}

// Serve answers until the server stops, over TLS where it has a TLSConfig.
func (h *httpServer) Serve(l net.Listener) error {
	serve := h.server.Serve
	if h.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return h.server.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// GracefulStop waits for the requests under way.
func (h *httpServer) GracefulStop() { h.shutdown() }

// Stop ends the requests under way.
func (h *httpServer) Stop() { _ = h.server.Close() } // which says no more than that a listener was closed

// recovering turns a panic into one 500.
func recovering(handler http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		defer func() {
			if p := recover(); p != nil {
				// The value of a panic may hold anything, so its type alone is logged.
				log.ErrorContext(ctx, "panic in a request", "type", fmt.Sprintf("%T", p))
				http.Error(w, "internal error; the server's log says more", http.StatusInternalServerError)
			}
		}()
		handler.ServeHTTP(w, r)
	})
}
