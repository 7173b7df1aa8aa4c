package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// maxPEM is far more than a file of certificates has, in bytes.
const maxPEM = 1 << 20

// soon is when the end of a certificate is worth a word; of one that lives less
// than three times as long, a third of its life is.
const soon = 30 * 24 * time.Hour

// certificates looks at every certificate that the configuration names.
func (e *Exam) certificates() []Finding {
	var findings []Finding
	for _, l := range e.Config.GetListeners() {
		t := l.GetTcp()
		if t.GetCertificateFile() != "" {
			findings = append(findings, e.certificate("listener "+t.GetAddress(), t.GetAddress(), t.GetCertificateFile(), t.GetKeyFile())...)
		}
		if t.GetClientCaFile() != "" {
			findings = append(findings, e.authorities("client CA of listener "+t.GetAddress(), t.GetClientCaFile())...)
		}
	}
	if p := e.Config.GetPublish(); p.GetCertificateFile() != "" {
		findings = append(findings, e.certificate("publish "+p.GetAddress(), p.GetAddress(), p.GetCertificateFile(), p.GetKeyFile())...)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Config.GetIssuers())) {
		if file := e.Config.GetIssuers()[name].GetCaFile(); file != "" {
			findings = append(findings, e.authorities("CA of issuer "+name, file)...)
		}
	}
	return findings
}

// readChain reads the certificates of a PEM file.
func readChain(file string) ([]byte, []*x509.Certificate, error) {
	data, err := backends.ReadFile(file, maxPEM)
	if err != nil {
		return nil, nil, err
	}
	var chain []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: certificate %d: %w", file, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return data, chain, nil
}

// certificate looks at the certificate that a listener shows, and at its key.
func (e *Exam) certificate(subject, address, certificateFile, keyFile string) []Finding {
	data, chain, err := readChain(certificateFile)
	if err != nil {
		return []Finding{fromError(Fault, subject, err, "put the certificate chain there in PEM, the server's own first")}
	}
	var findings []Finding
	found := func(severity Severity, mend, format string, args ...any) {
		findings = append(findings, Finding{severity, subject, certificateFile + ": " + fmt.Sprintf(format, args...), mend})
	}
	leaf := chain[0]
	const order = "write the server's certificate first, then the CA that signed it, and so on; a root is not needed"
	if leaf.IsCA && len(chain) > 1 && !chain[len(chain)-1].IsCA {
		found(Fault, order, "the first certificate is a CA's, and the server's comes after it")
		return findings
	}
	for i := range len(chain) - 1 {
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			found(Warning, order, "certificate %d (%s) was not signed by the next (%s), so clients may not find the way to their CA", i+1, chain[i].Subject, chain[i+1].Subject)
		}
	}
	for _, c := range chain {
		findings = append(findings, e.lifetime(subject, certificateFile, c)...)
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) == 0 {
		found(Fault, "have it issued anew with a subject alternative name", "has no subject alternative name, and clients look at no other")
	} else if host, _, err := net.SplitHostPort(address); err == nil && concrete(host) && leaf.VerifyHostname(host) != nil {
		found(Note, "", "is not for %s, the address that is listened on; clients need the name that it has: --tls-server-name", host)
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		found(Fault, "have it issued anew for serverAuth", "may not be a server's: its extended key usage lacks serverAuth")
	}
	return append(findings, pairing(subject, data, keyFile)...)
}

// concrete says whether a host to listen on is one that clients could call.
func concrete(host string) bool {
	ip := net.ParseIP(host)
	return host != "" && (ip == nil || !ip.IsUnspecified())
}

// pairing looks at a certificate's key, which is held to the same as a signing
// key's.
func pairing(subject string, chain []byte, keyFile string) []Finding {
	key, err := backends.ReadSecretFile(keyFile, maxPEM)
	if err != nil {
		return []Finding{fromError(Fault, subject, fmt.Errorf("private key %w", err), "put the certificate's private key there, for the server's user alone")}
	}
	defer clear(key)
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		// Its words are constants and numbers, and nothing of the file.
		return []Finding{{Fault, subject, fmt.Sprintf("private key %s does not go with the certificate: %v", keyFile, err), "put the key and the certificate there that belong together, and nothing encrypted"}}
	}
	return nil
}

// authorities looks at a file of CA certificates.
func (e *Exam) authorities(subject, file string) []Finding {
	_, chain, err := readChain(file)
	if err != nil {
		return []Finding{fromError(Fault, subject, err, "put the CA certificates there in PEM")}
	}
	var findings []Finding
	over := 0
	for _, c := range chain {
		findings = append(findings, e.lifetime(subject, file, c)...)
		if e.Now().After(c.NotAfter) {
			over++
		}
		if !c.IsCA {
			findings = append(findings, Finding{Warning, subject, fmt.Sprintf("%s: %s is no CA's certificate, so nothing chains to it", file, c.Subject), "put the certificate of the CA there that signed it"})
		}
	}
	for i := range findings { // of several, those that are over hold up nobody else
		if over < len(chain) && findings[i].Severity == Fault {
			findings[i].Severity = Warning
		}
	}
	return findings
}

// lifetime says whether a certificate is over, or will be soon.
func (e *Exam) lifetime(subject, file string, c *x509.Certificate) []Finding {
	now := e.Now()
	const mend = "have it issued anew and put it in its place; the server takes it up by itself"
	name := fmt.Sprintf("%s: the certificate of %s ", file, c.Subject)
	left := c.NotAfter.Sub(now)
	switch {
	case now.Before(c.NotBefore):
		return []Finding{{Fault, subject, name + "is not valid before " + c.NotBefore.UTC().Format(time.RFC3339), "wait for it, or mend the clock of this machine or of who issued it"}}
	case left <= 0:
		return []Finding{{Fault, subject, name + "is over since " + c.NotAfter.UTC().Format(time.RFC3339), mend}}
	case left < min(soon, c.NotAfter.Sub(c.NotBefore)/3):
		return []Finding{{Warning, subject, name + "ends in " + days(left) + ", at " + c.NotAfter.UTC().Format(time.RFC3339), mend}}
	}
	return nil
}

// days writes a duration in days, or in hours where it has less than two days.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
