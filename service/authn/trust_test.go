package authn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/jotsmith/jotsmith/service/authn/authntest"
)

// connected shakes hands with a client certificate and returns who its holder is
// from then on.
func connected(t *testing.T, trust *Trust, root *authntest.Authority, client tls.Certificate) func() (Caller, error) {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: root.Pool(), Certificates: []tls.Certificate{client}}
	info, serverErr, _, clientErr := shake(t, trust.Credentials(), config)
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	return func() (Caller, error) {
		return FromContext(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}))
	}
}

func TestConnectionIsKnownForAsLongAsItsCertificateIsTrusted(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	id, err := url.Parse("spiffe://example.org/ci")
	if err != nil {
		t.Fatal(err)
	}
	client := root.Intermediate().Issue(func(c *x509.Certificate) { c.URIs = []*url.URL{id} })
	terms := Terms{Certificate: root.Server(), ClientCAs: root.Pool()}
	trust := NewTrust(terms)
	who := connected(t, trust, root, client)
	known := func(why string) {
		t.Helper()
		if caller, err := who(); err != nil || caller.String() != "uri:spiffe://example.org/ci" || caller.notAfter.IsZero() {
			t.Errorf("%s: %v, %v", why, caller, err)
		}
	}
	nobody := func(why string) {
		t.Helper()
		if caller, err := who(); err == nil || caller.Known() {
			t.Errorf("%s: still %v", why, caller)
		}
	}
	known("at first")
	both := root.Pool()
	both.AddCert(other.Certificate)
	trust.Replace(Terms{Certificate: root.Server(), ClientCAs: both})
	known("with another CA beside his own")
	trust.Replace(Terms{Certificate: root.Server(), ClientCAs: other.Pool()})
	nobody("after his CA has gone")
	nobody("the second time")
	trust.Replace(Terms{Certificate: root.Server(), ClientCAs: other.Pool(), Optional: true})
	nobody("where certificates are optional")
	trust.Replace(Terms{Certificate: root.Server()})
	nobody("where none is asked for")
	trust.Replace(terms)
	known("after his CA has come back")
}

func TestNewHandshakesAreUnderTheNewTerms(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	trust := NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()})
	trust.Replace(Terms{Certificate: other.Server(), ClientCAs: other.Pool()})
	client := func(server, of *authntest.Authority) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: server.Pool(),
			Certificates: []tls.Certificate{of.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })},
		}
	}
	creds := trust.Credentials()
	if _, serverErr, _, clientErr := shake(t, creds, client(other, other)); serverErr != nil || clientErr != nil {
		t.Errorf("the new CA's: %v, %v", serverErr, clientErr)
	}
	if _, serverErr, _, clientErr := shake(t, creds.Clone(), client(other, root)); serverErr == nil || clientErr == nil {
		t.Error("a certificate of the old CA was taken")
	}
	if _, _, _, clientErr := shake(t, creds, client(root, other)); clientErr == nil {
		t.Error("the server still shows its old certificate")
	}
}

func TestVerifyHasTheLastWord(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	client := root.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })
	over := time.Now().Add(30 * time.Minute)
	refusal := errors.New("of another domain")
	answer := func(chains [][]*x509.Certificate, err error) Terms {
		return Terms{
			Certificate: root.Server(), ClientCAs: root.Pool(),
			Verify: func(sent []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
				if len(sent) != 1 || sent[0].DNSNames[0] != "ci.example.org" || time.Since(now) > time.Minute {
					t.Errorf("asked about %v at %v", sent, now)
				}
				return chains, err
			},
		}
	}
	chain := func(ends ...time.Time) (chain []*x509.Certificate) {
		for _, end := range ends {
			chain = append(chain, &x509.Certificate{NotAfter: end})
		}
		return chain
	}
	// The last of the chains counts, and of each what is over first.
	good := answer([][]*x509.Certificate{chain(over.Add(1), over.Add(-2)), chain(over.Add(2), over), chain(over.Add(-1))}, nil)
	trust := NewTrust(good)
	who := connected(t, trust, root, client)
	if caller, err := who(); err != nil || !caller.notAfter.Equal(over) {
		t.Errorf("%v until %v, %v", caller, caller.notAfter, err)
	}
	for name, tt := range map[string]struct {
		terms Terms
		want  error
	}{
		"a refusal": {answer(nil, refusal), refusal},
		"no chain":  {answer(nil, nil), errUntrusted},
	} {
		trust.Replace(tt.terms)
		if caller, err := who(); !errors.Is(err, tt.want) || caller.Known() {
			t.Errorf("%s: %v, %v", name, caller, err)
		}
		if caller, err := connected(t, NewTrust(tt.terms), root, client)(); !errors.Is(err, tt.want) || caller.Known() {
			t.Errorf("%s, of a new connection: %v, %v", name, caller, err)
		}
	}
	trust.Replace(good)
	if caller, err := who(); err != nil || caller.String() != "dns:ci.example.org" {
		t.Errorf("once more: %v, %v", caller, err)
	}
	// It is asked about nothing that TLS would not have let in.
	stranger := &tls.Config{RootCAs: root.Pool(), Certificates: []tls.Certificate{other.Issue(func(*x509.Certificate) {})}}
	if _, serverErr, _, clientErr := shake(t, trust.Credentials(), stranger); serverErr == nil || clientErr == nil {
		t.Error("let in")
	}
}

func TestTermsThatAreOverMakeNobodyKnown(t *testing.T) {
	root := authntest.NewAuthority(t)
	client := root.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })
	terms := Terms{Certificate: root.Server(), ClientCAs: root.Pool(), Until: time.Now().Add(time.Minute)}
	trust := NewTrust(terms)
	who := connected(t, trust, root, client)
	if caller, err := who(); err != nil || !caller.notAfter.Equal(terms.Until) {
		t.Errorf("%v until %v, %v", caller, caller.notAfter, err)
	}
	terms.Until = time.Now().Add(-time.Second)
	trust.Replace(terms)
	if caller, err := who(); !errors.Is(err, errUntil) || caller.Known() {
		t.Errorf("%v, %v", caller, err)
	}
	if caller, err := connected(t, trust, root, client)(); !errors.Is(err, errUntil) || caller.Known() {
		t.Errorf("of a new connection: %v, %v", caller, err)
	}
}

// What a chain said when it was verified does not outlive it: there may be
// another by then, as where a CA was certified anew.
func TestVerdictThatIsOverIsMadeAgain(t *testing.T) {
	root, other := authntest.NewAuthority(t), authntest.NewAuthority(t)
	client := root.Issue(func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} })
	sent := []*x509.Certificate{authntest.Parse(t, client.Certificate[0])}
	past := time.Now().Add(-time.Second)
	for name, tt := range map[string]struct {
		roots *x509.CertPool
		sent  []*x509.Certificate
		want  error
	}{
		"with another chain": {root.Pool(), sent, nil},
		"with none":          {other.Pool(), sent, errUntrusted},
		"of a leaf that is over": {root.Pool(), []*x509.Certificate{authntest.Parse(t, root.Issue(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"ci.example.org"}, past
		}).Certificate[0])}, errOver},
	} {
		trust := NewTrust(Terms{ClientCAs: tt.roots})
		p := &presented{trust: trust, sent: tt.sent}
		p.verdict.Store(&verdict{terms: trust.current.Load(), caller: Caller{names: &Names{DNS: []string{"x"}}, notAfter: past}})
		caller, err := p.caller()
		if !errors.Is(err, tt.want) || caller.Known() != (tt.want == nil) || caller.Known() && !caller.notAfter.After(time.Now()) {
			t.Errorf("%s: %v until %v, %v", name, caller, caller.notAfter, err)
		}
	}
}

func TestServerWithoutACertificateLetsNobodyIn(t *testing.T) {
	root := authntest.NewAuthority(t)
	client := &tls.Config{RootCAs: root.Pool(), Certificates: []tls.Certificate{root.Issue(func(*x509.Certificate) {})}}
	trust := NewTrust(Terms{ClientCAs: x509.NewCertPool()})
	if _, serverErr, _, clientErr := shake(t, trust.Credentials(), client); serverErr == nil || clientErr == nil {
		t.Error("let in")
	}
	if trust.Certificate() != nil {
		t.Error("a certificate from nowhere")
	}
}

func TestServersCredentialsAreNotForClients(t *testing.T) {
	root := authntest.NewAuthority(t)
	creds := NewTrust(Terms{Certificate: root.Server(), ClientCAs: root.Pool()}).Credentials()
	if _, _, err := creds.ClientHandshake(t.Context(), "x", nil); err == nil {
		t.Error("a handshake as a client began")
	}
	if level := creds.Info().SecurityProtocol; level != credentials.NewTLS(nil).Info().SecurityProtocol {
		t.Errorf("protocol %q", level)
	}
}
