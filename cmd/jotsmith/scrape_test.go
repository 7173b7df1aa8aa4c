package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scrape prints what an HTTP server on a Unix socket answers with 200, and fails
// for any other answer: scrape SOCKET PATH.
func scrape(ts *testscript.TestScript, neg bool, args []string) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", args[0])
		},
		DisableKeepAlives: true,
	}}
	resp, err := client.Get("http://unix" + args[1])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if _, err := ts.Stdout().Write(body); err != nil {
		ts.Fatalf("%v", err)
	}
	if (resp.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("%s: %s", args[1], resp.Status)
	}
}
