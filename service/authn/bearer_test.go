package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

func TestAuthorizationHeaders(t *testing.T) {
	longest := "a." + strings.Repeat("b", MaxBearer-4) + ".c"
	for name, tt := range map[string]struct {
		values []string
		want   string // the token, or "" and a reason
		why    string
	}{
		"a token":                         {[]string{"Bearer a.b.c"}, "a.b.c", ""},
		"lower case":                      {[]string{"bearer a.b.c"}, "a.b.c", ""},
		"upper case":                      {[]string{"BEARER a-_9.b.c"}, "a-_9.b.c", ""},
		"without a signature":             {[]string{"Bearer a.b."}, "a.b.", ""}, // for the verifier to refuse
		"8 KiB":                           {[]string{"Bearer " + longest}, longest, ""},
		"8 KiB and 1":                     {[]string{"Bearer " + longest + "c"}, "", "longer"},
		"two values":                      {[]string{"Bearer a.b.c", "Bearer a.b.c"}, "", "more than one"},
		"two schemes":                     {[]string{"Basic eA==", "Bearer a.b.c"}, "", "more than one"},
		"Basic":                           {[]string{"Basic dXNlcjpwYXNz"}, "", "scheme"},
		"the scheme alone":                {[]string{"Bearer"}, "", "scheme"},
		"no token":                        {[]string{"Bearer "}, "", "empty"},
		"empty":                           {[]string{""}, "", "scheme"},
		"a token alone":                   {[]string{"a.b.c"}, "", "scheme"},
		"two tokens":                      {[]string{"Bearer a.b.c, Bearer a.b.c"}, "", "character"},
		"a space more":                    {[]string{"Bearer  a.b.c"}, "", "character"},
		"a space after":                   {[]string{"Bearer a.b.c "}, "", "character"},
		"a tab":                           {[]string{"Bearer\ta.b.c"}, "", "scheme"},
		"padding":                         {[]string{"Bearer a.b.c="}, "", "character"},
		"standard base64":                 {[]string{"Bearer a+/.b.c"}, "", "character"},
		"an opaque token":                 {[]string{"Bearer abc"}, "", "not a JWT"},
		"a JWE":                           {[]string{"Bearer a.b.c.d.e"}, "", "not a JWT"},
		"another letter that looks alike": {[]string{"Bearer \u0430.b.c"}, "", "character"},
	} {
		got, err := parseBearer(tt.values)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, want %s", name, err, tt.why)
		}
	}
}

func FuzzParseBearer(f *testing.F) {
	f.Add("Bearer a.b.c")
	f.Add("bearer a.b.c")
	f.Add("Basic eA==")
	f.Add("Bearer a.b.c=")
	f.Fuzz(func(t *testing.T, value string) {
		token, err := parseBearer([]string{value})
		if (err == nil) != (token != "") {
			t.Fatalf("%q, %v", token, err)
		}
		if err != nil {
			if len(value) > 24 && strings.Contains(err.Error(), value) {
				t.Errorf("the error repeats what was sent: %v", err)
			}
			return
		}
		if len(token) > MaxBearer || !strings.HasSuffix(value, token) || len(value) != len(token)+len("Bearer ") || strings.Count(token, ".") != 2 {
			t.Errorf("%q of %q", token, value)
		}
	})
}

func TestBearerIsTakenFromSafeConnectionsAlone(t *testing.T) {
	send := func(auth credentials.AuthInfo, values ...string) (context.Context, string) {
		ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: auth})
		md := metadata.MD{}
		for _, v := range values {
			md.Append("authorization", v)
		}
		return metadata.NewIncomingContext(ctx, md), "a.b.c"
	}
	safe := identity{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	ctx, want := send(safe, "Bearer a.b.c")
	if token, sent, err := Bearer(ctx); token != want || !sent || err != nil {
		t.Errorf("%q, %v, %v", token, sent, err)
	}
	if token, sent, err := Bearer(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: safe})); token != "" || sent || err != nil {
		t.Errorf("none sent: %q, %v, %v", token, sent, err)
	}
	bad := map[string]context.Context{"no peer": metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer a.b.c"))}
	bad["plaintext"], _ = send(identity{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, "Bearer a.b.c")
	bad["another's credentials"], _ = send(credentials.TLSInfo{CommonAuthInfo: safe.CommonAuthInfo}, "Bearer a.b.c")
	bad["two"], _ = send(safe, "Bearer a.b.c", "Bearer a.b.c")
	bad["Basic"], _ = send(safe, "Basic eA==")
	for name, ctx := range bad {
		if token, sent, err := Bearer(ctx); token != "" || !sent || err == nil {
			t.Errorf("%s: %q, %v, %v", name, token, sent, err)
		}
	}
}

func TestLabelsOfTokensCannotBeForged(t *testing.T) {
	seen := map[string]string{}
	for subject, want := range map[string]string{
		"repo:example/app:ref:refs/heads/main": "oidc:ci:repo:example/app:ref:refs/heads/main",
		"a b":                                  `oidc:ci:"a b"`,
		`"a b"`:                                `oidc:ci:"\"a b\""`,
		"a\nlevel=ERROR":                       `oidc:ci:"a\nlevel=ERROR"`,
		`a\nb`:                                 `oidc:ci:"a\\nb"`,
		"\u202eevil":                           `oidc:ci:"\u202eevil"`,
		"\x00":                                 `oidc:ci:"\x00"`,
		"é":                                    `oidc:ci:"\u00e9"`,
		"\x7f":                                 `oidc:ci:"\x7f"`,
	} {
		got := FromToken(Token{Issuer: "ci", Subject: subject}, time.Time{}).String()
		if got != want {
			t.Errorf("%q: %s, want %s", subject, got, want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q look alike", subject, other)
		}
		seen[got] = subject
	}
}

func TestTLSForBearers(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	const nobody = "neither a client certificate nor a bearer token"
	optional := serve(t, listenTCP(t), NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool(), Optional: true}).Credentials())
	without := serve(t, listenTCP(t), NewTrust(Terms{Certificate: root.Server()}).Credentials())
	strict := serve(t, listenTCP(t), NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()}).Credentials())
	name := func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} }
	client := func(of *authntest.Authority) credentials.TransportCredentials {
		cfg := &tls.Config{RootCAs: root.Pool(), MinVersion: tls.VersionTLS13}
		if of != nil { // even where the server's list of CAs lacks it
			certificate := of.Issue(name)
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
		}
		return credentials.NewTLS(cfg)
	}
	for name, tt := range map[string]struct {
		address string
		creds   credentials.TransportCredentials
		code    codes.Code
		want    string
	}{
		"optional, with":          {optional, client(root), codes.NotFound, "dns:ci.example.org"},
		"optional, without":       {optional, client(nil), codes.Unauthenticated, nobody},
		"optional, of another CA": {optional, client(other), codes.Unavailable, ""},
		"none, with":              {without, client(root), codes.Unauthenticated, nobody},
		"none, without":           {without, client(nil), codes.Unauthenticated, nobody},
		"required, without":       {strict, client(nil), codes.Unavailable, ""},
		"plaintext":               {optional, insecure.NewCredentials(), codes.Unavailable, ""},
	} {
		if got := ask(t, tt.address, tt.creds); got.Code() != tt.code || tt.want != "" && got.Message() != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
