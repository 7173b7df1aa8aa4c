package agenttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
)

// Domain is a trust domain with its CAs, the newest of which signs.
type Domain struct {
	Name string
	cas  []authority
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Leaf is a certificate with its key, as a workload has it.
type Leaf struct {
	*x509.Certificate
	Key *ecdsa.PrivateKey
}

// NewDomain makes a trust domain with one CA.
func NewDomain(name string) (*Domain, error) {
	d := &Domain{Name: name}
	if err := d.AddCA(); err != nil {
		return nil, err
	}
	return d, nil
}

// AddCA adds a CA, which signs from then on.
func (d *Domain) AddCA() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(d.cas) + 1)), Subject: pkix.Name{CommonName: d.Name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "spiffe", Host: d.Name}},
	}
	certificate, err := create(template, authority{template, key}, key)
	if err != nil {
		return err
	}
	d.cas = append(d.cas, authority{certificate, key})
	return nil
}

// DropCA takes the oldest CA out.
func (d *Domain) DropCA() { d.cas = slices.Delete(d.cas, 0, 1) }

// Bundle is the CAs' certificates, as the Workload API has them.
func (d *Domain) Bundle() (der []byte) {
	for _, ca := range d.cas {
		der = append(der, ca.certificate.Raw...)
	}
	return der
}

// Pool is the CAs' certificates, as TLS has them.
func (d *Domain) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range d.cas {
		pool.AddCert(ca.certificate)
	}
	return pool
}

// Issue makes the SVID of spiffe://NAME/PATH, valid for an hour, as changes have
// changed it.
func (d *Domain) Issue(path string, changes ...func(*x509.Certificate)) (*Leaf, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{{Scheme: "spiffe", Host: d.Name, Path: "/" + path}},
	}
	for _, change := range changes {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate, err := create(template, d.cas[len(d.cas)-1], key)
	if err != nil {
		return nil, err
	}
	return &Leaf{certificate, key}, nil
}

func create(template *x509.Certificate, by authority, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// TLS is the certificate as TLS shows it.
func (l *Leaf) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{l.Raw}, PrivateKey: l.Key, Leaf: l.Certificate}
}

// Response is what an agent hands out: SVIDs of a trust domain, and the bundles
// of others.
func Response(d *Domain, leaves []*Leaf, federated ...*Domain) (*workload.X509SVIDResponse, error) {
	resp := &workload.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
	for _, leaf := range leaves {
		key, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
		if err != nil {
			return nil, err
		}
		resp.Svids = append(resp.Svids, &workload.X509SVID{
			SpiffeId: leaf.URIs[0].String(), X509Svid: leaf.Raw, X509SvidKey: key, Bundle: d.Bundle(),
		})
	}
	for _, other := range federated {
		resp.FederatedBundles["spiffe://"+other.Name] = other.Bundle()
	}
	return resp, nil
}
