package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rogpeppe/go-internal/testscript"
)

// tokenIssuers are the fake OpenID Connect providers of the scripts under way,
// by their URLs.
var tokenIssuers sync.Map

// tokenIssuer runs an OpenID Connect provider until the script ends, writes the
// CA of its certificate, and sets $ISSUER: tokenissuer CA-FILE.
func tokenIssuer(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	jwk := jose.JSONWebKey{Key: key, KeyID: "k1", Use: "sig", Algorithm: "ES256"}
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	ts.Defer(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL, server.URL+"/jwks")
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk.Public()}})
	})
	writePEM(ts, args[0], 0o644, "CERTIFICATE", server.Certificate().Raw)
	tokenIssuers.Store(server.URL, jwk)
	ts.Setenv("ISSUER", server.URL)
}

// idToken writes a token of $ISSUER, valid for so many seconds, as a CI system
// would: idtoken FILE AUD SUB SECONDS [NAME=VALUE...].
func idToken(ts *testscript.TestScript, _ bool, args []string) {
	jwk, ok := tokenIssuers.Load(ts.Getenv("ISSUER"))
	if !ok {
		ts.Fatalf("there is no issuer; run tokenissuer first")
	}
	seconds, err := strconv.ParseInt(args[3], 10, 64)
	ts.Check(err)
	claims := map[string]any{
		"iss": ts.Getenv("ISSUER"), "aud": args[1], "sub": args[2],
		"iat": time.Now().Unix(), "exp": time.Now().Unix() + seconds,
	}
	for _, pair := range args[4:] {
		name, value, _ := strings.Cut(pair, "=")
		claims[name] = value
	}
	payload, err := json.Marshal(claims)
	ts.Check(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jwk}, nil)
	ts.Check(err)
	signed, err := signer.Sign(payload)
	ts.Check(err)
	token, err := signed.CompactSerialize()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
}
