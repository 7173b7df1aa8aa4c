package main

import (
	"crypto/ecdsa"
	"net/http/httptest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/jotsmith/jotsmith/clients/conformance/standin"
)

// startStandIn starts the stand-in for App Store Connect with the keys of a JWK Set,
// and says in STANDIN where it is: standin JWKS.
func startStandIn(ts *testscript.TestScript, _ bool, args []string) {
	jwks := ts.MkAbs(args[0])
	server := httptest.NewServer(standin.New(standin.Config{
		Issuer: "57246542-96fe-1a63-e053-0824d011072a",
		Keys:   func() (map[string]*ecdsa.PublicKey, error) { return standin.ReadKeys(jwks) },
		Now:    time.Now,
	}))
	ts.Defer(server.Close)
	ts.Setenv("STANDIN", server.URL)
}
