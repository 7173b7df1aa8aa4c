package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

// What certificates are called, and who calls.
const (
	caCert     = "ca.pem"
	serverCert = "server.pem"
	serverKey  = "server.key"
	callerURI  = "spiffe://bench.example.org/"
)

// makeCertificates makes a CA, the server's certificate as files, and the
// client's side of mTLS.
func (b *benchmark) makeCertificates() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	b.ca = ca
	if err := b.writePEM(caCert, "CERTIFICATE", ca.Raw); err != nil {
		return err
	}
	server, err := ca.issue(func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	if err != nil {
		return err
	}
	if err := b.writePair(serverCert, serverKey, server); err != nil {
		return err
	}
	client, err := ca.client("caller")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	b.clientTLS = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{client.tls()}}
	return nil
}

// authority issues certificates.
type authority struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

// pair is a certificate and its key.
type pair struct {
	certificate []byte // DER
	key         *ecdsa.PrivateKey
}

func (p pair) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.certificate}, PrivateKey: p.key}
}

func (a *authority) issue(fill func(*x509.Certificate)) (pair, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: a.NotBefore, NotAfter: a.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	fill(template)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, &key.PublicKey, a.key)
	return pair{der, key}, err
}

// client issues a certificate of the caller of a name.
func (a *authority) client(name string) (pair, error) {
	return a.issue(func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "bench.example.org", Path: "/" + name}}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
}

// writePair writes a certificate and its key as files.
func (b *benchmark) writePair(certificate, key string, p pair) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return err
	}
	return errors.Join(
		b.writePEM(certificate, "CERTIFICATE", p.certificate),
		b.writePEM(key, "PRIVATE KEY", der))
}

func (b *benchmark) writePEM(name, kind string, der []byte) error {
	return os.WriteFile(b.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// freeAddress is an address on the loopback interface that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
