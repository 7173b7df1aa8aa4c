package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
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
// wants, and what is answered is small.
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
