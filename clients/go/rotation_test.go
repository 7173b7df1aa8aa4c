package jotsmith_test

import (
	"crypto/ecdsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/clients/conformance/stage"
	"github.com/jotsmith/jotsmith/clients/conformance/standin"
)

func TestARequestWhoseBodyIsGoneIsNotRepeated(t *testing.T) {
	program, err := stage.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := stage.New(t, program)
	server.Start()
	client := connect(t, server.File("s"))
	var requests atomic.Int32
	apple := standin.New(standin.Config{Issuer: stage.Issuer, Now: time.Now, Keys: func() (map[string]*ecdsa.PublicKey, error) {
		keys, _, err := server.PublicKeys(t.Context())
		return keys, err
	}})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		apple.ServeHTTP(w, r)
	}))
	defer api.Close()
	web := http.Client{Transport: client.Transport(nil, "asc")}
	for _, row := range []struct {
		again    bool // the body can be read again
		status   int
		requests int32
	}{{true, http.StatusOK, 2}, {false, http.StatusUnauthorized, 1}} {
		if _, err := client.Token(t.Context(), "asc"); err != nil {
			t.Fatal(err)
		}
		server.Rotate()
		requests.Store(0)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, api.URL+"/v1/apps/1234567890", strings.NewReader(`{"data":{"attributes":{"name":"Renamed"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if !row.again {
			req.GetBody = nil
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.status || requests.Load() != row.requests {
			t.Errorf("body again %v: %d after %d requests", row.again, resp.StatusCode, requests.Load())
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the program's request was changed")
		}
	}
}
