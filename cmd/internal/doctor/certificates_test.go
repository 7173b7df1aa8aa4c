package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issued is a certificate with its key, in a directory of PEM files.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate; a nil parent makes a root.
func issue(t *testing.T, parent *issued, name string, changes ...func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: start().Add(-24 * time.Hour), NotAfter: start().AddDate(1, 0, 0),
	}
	for _, change := range changes {
		change(c)
	}
	signer := &issued{c, key}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer.Certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

func ca(c *x509.Certificate)    { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
func named(c *x509.Certificate) { c.DNSNames = []string{"tokens.example.org"} }
func ends(in time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = start().Add(in) }
}

// pemFile writes certificates in their order.
func pemFile(t *testing.T, chain ...*issued) string {
	t.Helper()
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return writeFile(t, text, 0o644)
}

func (c *issued) keyFile(t *testing.T, mode os.FileMode) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode)
}

func writeFile(t *testing.T, text []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, text, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCertificatesOfAListener(t *testing.T) {
	root := issue(t, nil, "root", ca)
	between := issue(t, root, "between", ca)
	other := issue(t, nil, "other", ca)
	good := issue(t, between, "good", named)
	e := examOf(t, plain)
	for name, tc := range map[string]struct {
		chain []*issued
		key   *issued
		mode  os.FileMode
		want  []string
	}{
		"well":           {[]*issued{good, between}, good, 0o600, nil},
		"with the root":  {[]*issued{good, between, root}, good, 0o600, nil},
		"ends soon":      {[]*issued{issue(t, root, "x", named, ends(20*24*time.Hour+time.Minute), func(c *x509.Certificate) { c.NotBefore = start().AddDate(-1, 0, 0) })}, nil, 0o600, []string{"warning ends in 20 days"}},
		"lives shortly":  {[]*issued{issue(t, root, "x", named, ends(36*time.Hour))}, nil, 0o600, nil},
		"over":           {[]*issued{issue(t, root, "x", named, ends(-time.Hour))}, nil, 0o600, []string{"error is over since"}},
		"not yet":        {[]*issued{issue(t, root, "x", named, func(c *x509.Certificate) { c.NotBefore = start().Add(time.Hour) })}, nil, 0o600, []string{"error is not valid before"}},
		"chain ends":     {[]*issued{good, issue(t, root, "between", ca, ends(-time.Hour))}, good, 0o600, []string{"warning was not signed by the next", "error is over since"}},
		"wrong order":    {[]*issued{between, good}, good, 0o600, []string{"error the first certificate is a CA's"}},
		"broken chain":   {[]*issued{good, other}, good, 0o600, []string{"warning certificate 1 (CN=good) was not signed by the next (CN=other)"}},
		"no name":        {[]*issued{issue(t, root, "x")}, nil, 0o600, []string{"error has no subject alternative name"}},
		"for clients":    {[]*issued{issue(t, root, "x", named, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}, nil, 0o600, []string{"error lacks serverAuth"}},
		"another's key":  {[]*issued{good, between}, between, 0o600, []string{"error does not go with the certificate"}},
		"open key":       {[]*issued{good, between}, good, 0o644, []string{"error its mode 0644 lets everyone use it"}},
		"no certificate": {nil, good, 0o600, []string{"error holds no PEM certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.key == nil {
				tc.key = tc.chain[0]
			}
			wantFindings(t, e.certificate("listener", "0.0.0.0:8443", pemFile(t, tc.chain...), tc.key.keyFile(t, tc.mode)), tc.want...)
		})
	}
	wantFindings(t, e.certificate("listener", "10.0.0.1:8443", pemFile(t, good, between), good.keyFile(t, 0o600)), "note is not for 10.0.0.1")
	wantFindings(t, e.certificate("listener", ":8443", "/no/such/file", "/none"), "error no such file")
}

func TestFilesOfAuthorities(t *testing.T) {
	root, over := issue(t, nil, "root", ca), issue(t, nil, "old", ca, ends(-time.Hour))
	e := examOf(t, plain)
	wantFindings(t, e.authorities("CA", pemFile(t, root)))
	wantFindings(t, e.authorities("CA", pemFile(t, over)), "error is over since")
	wantFindings(t, e.authorities("CA", pemFile(t, over, root)), "warning is over since")
	wantFindings(t, e.authorities("CA", pemFile(t, issue(t, root, "leaf", named))), "warning is no CA's certificate")
	wantFindings(t, e.authorities("CA", writeFile(t, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o644)), "error certificate 1")
}
