package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, so that time can be false.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial opens a connection, which is the test's to close.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// serveHTTP runs a server of a handler until stop is called, which fails the
// test unless the server ends without an error.
func serveHTTP(t *testing.T, handler http.HandlerFunc, log io.Writer) (server *httpServer, l *pipes, stop func()) {
	t.Helper()
	server = newHTTPServer(t.Context(), handler, slog.New(slog.NewTextHandler(log, nil)))
	l = newPipes()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return server, l, func() {
		t.Helper()
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-time.After(time.Second) // of the bubble: net/http lingers over a connection that it refused
	}
}

// ask sends text and returns the answer's status, and what its body has; 0 for
// a connection that was closed without an answer.
func ask(t *testing.T, l *pipes, text string) (status int, body string) {
	t.Helper()
	conn := l.dial()
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }() // the server may close before it has read all
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(data)
}

const plainGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

func answerOK(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
		return
	}
	_, _ = io.WriteString(w, "fine")
}

func TestHTTPServerBoundsWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, stop := serveHTTP(t, answerOK, io.Discard)
		defer stop()
		for name, row := range map[string]struct {
			text string
			want int
		}{
			"a request":              {plainGet, http.StatusOK},
			"headers of 8 KiB":       {"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 8<<10) + "\r\n\r\n", http.StatusOK},
			"headers of 32 KiB":      {"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
			"a body of 8 KiB":        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8192\r\n\r\n" + strings.Repeat("x", 8<<10), http.StatusRequestEntityTooLarge},
			"no HTTP":                {"\x16\x03\x01\r\n\r\n", http.StatusBadRequest},
			"headers without an end": {"GET / HTTP/1.1\r\nHost: h\r\n", 0},
			"a body without an end":  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx", http.StatusRequestEntityTooLarge},
			"nothing at all":         {"", 0},
		} {
			began := time.Now()
			if got, _ := ask(t, l, row.text); got != row.want {
				t.Errorf("%s: %d, want %d", name, got, row.want)
			}
			if took := time.Since(began); took > httpReadTime {
				t.Errorf("%s took %v", name, took)
			}
		}
	})
}

func TestHTTPServerLetsRequestsFinishUnlessItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held, release := make(chan context.Context, 2), make(chan struct{})
		server, l, stop := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			held <- r.Context()
			select {
			case <-release:
			case <-r.Context().Done():
			}
			answerOK(w, r)
		}, io.Discard)
		var graceful sync.WaitGroup
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				status, _ := ask(t, l, plainGet)
				answers <- status
			}()
			<-held
		}
		graceful.Go(server.GracefulStop)
		synctest.Wait()
		release <- struct{}{}
		if got := <-answers; got != http.StatusOK {
			t.Errorf("a request under way got %d", got)
		}
		stop() // the other is still held
		if got := <-answers; got != 0 {
			t.Errorf("a request that was ended got %d", got)
		}
		graceful.Wait()
	})
}

func TestHTTPServerSurvivesAPanicAndLogsNoneOfItsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		first := true
		_, l, stop := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				panic("eyJ secret")
			}
			answerOK(w, r)
		}, &log)
		defer stop()
		if status, body := ask(t, l, plainGet); status != http.StatusInternalServerError || strings.Contains(body, "secret") {
			t.Errorf("%d: %s", status, body)
		}
		if text := log.String(); !strings.Contains(text, `msg="panic in a request" type=string`) || strings.Contains(text, "secret") {
			t.Errorf("log: %s", text)
		}
		if status, body := ask(t, l, plainGet); status != http.StatusOK || body != "fine" {
			t.Errorf("the next: %d: %s", status, body)
		}
	})
}
