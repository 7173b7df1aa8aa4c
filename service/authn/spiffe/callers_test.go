package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/peer"

	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/authn/spiffe/agenttest"
)

func domain(t testing.TB, name string) *agenttest.Domain {
	t.Helper()
	d, err := agenttest.NewDomain(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func issue(t testing.TB, d *agenttest.Domain, path string, changes ...func(*x509.Certificate)) *agenttest.Leaf {
	t.Helper()
	leaf, err := d.Issue(path, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func uris(t testing.TB, texts ...string) func(*x509.Certificate) {
	t.Helper()
	var all []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return func(c *x509.Certificate) { c.URIs = all }
}

func bundles(t testing.TB, domains ...*agenttest.Domain) *x509bundle.Set {
	t.Helper()
	set := x509bundle.NewSet()
	for _, d := range domains {
		bundle, err := x509bundle.ParseRaw(spiffeid.RequireTrustDomainFromString(d.Name), d.Bundle())
		if err != nil {
			t.Fatal(err)
		}
		set.Add(bundle)
	}
	return set
}

// meet shakes hands as a client with a certificate, and returns who the server
// takes its holder for from then on. It fails where TLS lets nobody in.
func meet(t testing.TB, trust *authn.Trust, client *agenttest.Leaf) (func() (authn.Caller, error), error) {
	t.Helper()
	serverSide, clientSide := net.Pipe()
	t.Cleanup(func() { _, _ = serverSide.Close(), clientSide.Close() })
	shown := client.TLS()
	conn := tls.Client(clientSide, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"h2"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil },
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.HandshakeContext(t.Context()) // the server's word is what counts
		_, _ = conn.Read(make([]byte, 1))      // takes the alert, where one comes
	}()
	_, info, err := trust.Credentials().ServerHandshake(serverSide)
	_ = clientSide.Close()
	<-done
	if err != nil {
		return nil, err
	}
	return func() (authn.Caller, error) {
		return authn.FromContext(peer.NewContext(context.Background(), &peer.Peer{AuthInfo: info}))
	}, nil
}

func TestWhoIsKnownByAnSVID(t *testing.T) {
	ours, federated, unwanted, silent := domain(t, "example.org"), domain(t, "partner.example"), domain(t, "unwanted.example"), domain(t, "silent.example")
	accepted := callers{bundles: bundles(t, ours, federated, unwanted)}
	for _, name := range []string{"example.org", "partner.example", "silent.example"} {
		accepted.accepted = append(accepted.accepted, spiffeid.RequireTrustDomainFromString(name))
	}
	trust := authn.NewTrust(authn.Terms{
		Certificate: issue(t, ours, "jotsmith").TLS(), ClientCAs: accepted.authorities(), Verify: accepted.verify,
	})
	const noID = "client certificate is no SVID: "
	for _, tt := range []struct {
		name   string
		signer *agenttest.Domain
		change func(*x509.Certificate)
		want   string // the caller, the reason, or what TLS says
	}{
		{"ours", ours, uris(t, "spiffe://example.org/ci/deploy"), "uri:spiffe://example.org/ci/deploy"},
		{"a federated domain's", federated, uris(t, "spiffe://partner.example/ci"), "uri:spiffe://partner.example/ci"},
		{"without extended key usages", ours, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "uri:spiffe://example.org/x"},
		{"with DNS names too", ours, func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.org"} }, "uri:spiffe://example.org/x"},

		{"ours, signed by a federated domain", federated, uris(t, "spiffe://example.org/ci"), "no SVID of example.org by the bundle of that trust domain"},
		{"a federated domain's, signed by us", ours, uris(t, "spiffe://partner.example/ci"), "no SVID of partner.example by the bundle of that trust domain"},
		{"of a domain that is not accepted, signed by us", ours, uris(t, "spiffe://unwanted.example/ci"), "trust domain unwanted.example, which trust_domains does not accept"},
		{"of a domain without a bundle, signed by us", ours, uris(t, "spiffe://silent.example/ci"), `no X.509 bundle for trust domain "silent.example"`},
		{"of a domain that nobody knows", ours, uris(t, "spiffe://example.org.evil.example/ci"), "does not accept"},

		{"no URI", ours, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"ci.example.org"} }, noID + "certificate contains no URI SAN"},
		{"two URIs", ours, uris(t, "spiffe://example.org/a", "spiffe://example.org/b"), noID + "certificate contains more than one URI SAN"},
		{"one URI twice", ours, uris(t, "spiffe://example.org/a", "spiffe://example.org/a"), noID + "certificate contains more than one URI SAN"},
		{"another scheme", ours, uris(t, "https://example.org/ci"), noID},
		{"a trust domain alone", ours, uris(t, "spiffe://example.org"), noID + "its SPIFFE ID has no path"},
		{"a slash at the end", ours, uris(t, "spiffe://example.org/ci/"), noID},
		{"a slash alone", ours, uris(t, "spiffe://example.org/"), noID},
		{"dots", ours, uris(t, "spiffe://example.org/a/../b"), noID},
		{"an empty part", ours, uris(t, "spiffe://example.org/a//b"), noID},
		{"an escape", ours, uris(t, "spiffe://example.org/%63i"), noID},
		{"a port", ours, uris(t, "spiffe://example.org:80/ci"), noID},
		{"a user", ours, uris(t, "spiffe://me@example.org/ci"), noID},
		{"a query", ours, uris(t, "spiffe://example.org/ci?a=b"), noID},
		{"an empty query", ours, uris(t, "spiffe://example.org/ci?"), noID},
		{"a fragment", ours, uris(t, "spiffe://example.org/ci#a"), noID},
		{"capitals", ours, uris(t, "spiffe://Example.org/ci"), noID},
		{"2,049 bytes", ours, uris(t, "spiffe://example.org/"+strings.Repeat("a", 2049-21)), noID + "its SPIFFE ID has more than 2048 bytes"},
		{"a long trust domain", ours, uris(t, "spiffe://"+strings.Repeat("a", 256)+"/ci"), noID + "its SPIFFE ID has a trust domain of more than 255 bytes"},
		{"a CA's own", ours, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "leaf certificate with CA flag set to true"},
		{"one that may sign certificates", ours, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "leaf certificate with KeyCertSign"},
		{"one that may sign revocation lists", ours, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, "leaf certificate with KeyCrlSign"},

		{"signed by a domain that is not accepted", unwanted, uris(t, "spiffe://example.org/ci"), "tls: "},
		{"of a domain without a bundle", silent, uris(t, "spiffe://silent.example/ci"), "tls: "},
		{"for servers alone", ours, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "tls: "},
		{"over", ours, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }, "tls: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who, err := meet(t, trust, issue(t, tt.signer, "x", tt.change))
			if err != nil || strings.HasPrefix(tt.want, "tls: ") {
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Fatalf("%v, want %s", err, tt.want)
				}
				return
			}
			caller, err := who()
			if strings.HasPrefix(tt.want, "uri:") {
				if err != nil || caller.String() != tt.want {
					t.Errorf("%v, %v", caller, err)
				}
				return
			}
			if err == nil || caller.Known() || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want %s", caller, err, tt.want)
			}
		})
	}
}

func TestAcceptedDomainsWithoutACAAreMissing(t *testing.T) {
	ours := domain(t, "example.org")
	set := bundles(t, ours)
	set.Add(x509bundle.New(spiffeid.RequireTrustDomainFromString("empty.example")))
	c := callers{bundles: set}
	for _, name := range []string{"example.org", "empty.example", "none.example"} {
		c.accepted = append(c.accepted, spiffeid.RequireTrustDomainFromString(name))
	}
	if got := strings.Join(c.missing(), " "); got != "empty.example none.example" {
		t.Error(got)
	}
	if !c.authorities().Equal(ours.Pool()) {
		t.Error("other CAs than ours")
	}
}

func TestNamesOfTheConfiguration(t *testing.T) {
	for text, good := range map[string]bool{
		"spiffe://example.org/jotsmith": true, "spiffe://example.org/ns/tools/sa/jotsmith_1.0": true,
		"": false, "example.org/jotsmith": false, "spiffe://": false, "spiffe://example.org": false, "spiffe://example.org/": false,
		"spiffe://Example.org/a": false, "spiffe://example.org/a b": false, "spiffe://example.org/..": false, "https://example.org/a": false,
		"spiffe://example.org/" + strings.Repeat("a", 2048): false, "spiffe://" + strings.Repeat("a", 256) + "/a": false,
	} {
		if err := CheckID(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
		if err := (Settings{ID: text}).check(); (err == nil) != (good || text == "") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, good := range map[string]bool{
		"example.org": true, "a_b-c.1": true,
		"": false, "spiffe://example.org": false, "Example.org": false, "example.org/a": false, "example.org:80": false,
		strings.Repeat("a", 256): false,
	} {
		if err := (Settings{TrustDomains: []string{"a", text}}).check(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// No certificate makes verify panic, and none that it takes is of another
// domain than the one whose CA signed it.
func FuzzVerify(f *testing.F) {
	ours, other := domain(f, "example.org"), domain(f, "partner.example")
	set := bundles(f, ours, other)
	c := callers{bundles: set, accepted: []spiffeid.TrustDomain{
		spiffeid.RequireTrustDomainFromString(ours.Name), spiffeid.RequireTrustDomainFromString(other.Name),
	}}
	for _, text := range []string{"spiffe://example.org/ci", "spiffe://partner.example/ci", "spiffe://example.org", "https://a/b", "spiffe://a@b:1/c?d#e", "%"} {
		f.Add(text, "")
		f.Add(text, "spiffe://example.org/x")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1)}
		for _, text := range []string{first, second} {
			if u, err := url.Parse(text); err == nil && text != "" {
				leaf.URIs = append(leaf.URIs, u)
			}
		}
		signed, err := ours.Issue("x", func(c *x509.Certificate) { c.URIs = leaf.URIs })
		if err != nil {
			return // a name that no certificate can have
		}
		chains, err := c.verify([]*x509.Certificate{signed.Certificate}, time.Now())
		if err != nil {
			return
		}
		if len(chains) == 0 || len(signed.URIs) != 1 || signed.URIs[0].Host != ours.Name || CheckID(signed.URIs[0].String()) != nil {
			t.Errorf("taken: %v", signed.URIs)
		}
	})
}
