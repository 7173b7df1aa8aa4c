// Package authntest makes certificates for tests.
package authntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// Authority is a CA of one test.
type Authority struct {
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
	Chain       [][]byte // behind a leaf, without the root

	t testing.TB
}

// NewAuthority returns a root that is valid now.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	template := caTemplate("test root")
	key := NewKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Certificate: Parse(t, der), Key: key, t: t}
}

// Intermediate returns a CA below this one.
func (a *Authority) Intermediate() *Authority {
	a.t.Helper()
	key := NewKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, caTemplate("test intermediate"), a.Certificate, key.Public(), a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &Authority{Certificate: Parse(a.t, der), Key: key, Chain: [][]byte{der}, t: a.t}
}

// Below returns whoever has a leaf's key in the place of a CA.
func (a *Authority) Below(leaf tls.Certificate) *Authority {
	a.t.Helper()
	key, ok := leaf.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		a.t.Fatalf("a key of type %T", leaf.PrivateKey)
	}
	return &Authority{Certificate: Parse(a.t, leaf.Certificate[0]), Key: key, Chain: leaf.Certificate, t: a.t}
}

// Pool returns the CA's certificate.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// Issue makes a client certificate that change has changed.
func (a *Authority) Issue(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	key := NewKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: append([][]byte{der}, a.Chain...), PrivateKey: key}
}

// Server makes a certificate for 127.0.0.1.
func (a *Authority) Server() tls.Certificate {
	return a.Issue(func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	})
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// NewKey makes a P-256 key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Parse reads a certificate.
func Parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// URI reads a URI.
func URI(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
