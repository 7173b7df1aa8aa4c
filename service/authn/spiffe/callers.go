package spiffe

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// The longest SPIFFE ID and trust domain, in bytes (SPIFFE-ID section 2.3 and
// section 2.1). go-spiffe does not look at lengths.
const (
	maxID          = 2048
	maxTrustDomain = 255
)

// callers decides who is known by his SVID: one of an accepted trust domain
// that the bundle of that very domain has signed. So no domain's CA can make a
// name of another's.
type callers struct {
	accepted []spiffeid.TrustDomain
	bundles  *x509bundle.Set // of all that the agent has told of
}

// authorities are the CAs of all accepted trust domains. TLS lets in whom any of
// them has signed, and verify then looks at which.
func (c callers) authorities() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, domain := range c.accepted {
		if bundle, ok := c.bundles.Get(domain); ok {
			for _, ca := range bundle.X509Authorities() {
				pool.AddCert(ca)
			}
		}
	}
	return pool
}

// missing are the accepted trust domains that no certificate can be of, since
// the agent has told of no CA of theirs.
func (c callers) missing() (names []string) {
	for _, domain := range c.accepted {
		if bundle, ok := c.bundles.Get(domain); !ok || bundle.Empty() {
			names = append(names, domain.Name())
		}
	}
	return names
}

// verify is authn.Terms' Verify.
func (c callers) verify(sent []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	id, err := x509svid.IDFromCert(sent[0])
	if err != nil {
		return nil, fmt.Errorf("client certificate is no SVID: %w", err)
	}
	if err := workloadID(id); err != nil {
		return nil, fmt.Errorf("client certificate is no SVID: its SPIFFE ID %w", err)
	}
	domain := id.TrustDomain()
	if !slices.Contains(c.accepted, domain) {
		return nil, fmt.Errorf("client certificate is of the trust domain %s, which trust_domains does not accept", domain)
	}
	_, chains, err := x509svid.Verify(sent, c.bundles, x509svid.WithTime(now))
	if err != nil {
		return nil, fmt.Errorf("client certificate is no SVID of %s by the bundle of that trust domain: %w", domain, err)
	}
	return chains, nil
}

// workloadID refuses what is the name of no workload.
func workloadID(id spiffeid.ID) error {
	switch {
	case id.Path() == "":
		return errors.New("has no path, which is the name of a whole trust domain")
	case len(id.String()) > maxID:
		return fmt.Errorf("has more than %d bytes", maxID)
	case len(id.TrustDomain().Name()) > maxTrustDomain:
		return fmt.Errorf("has a trust domain of more than %d bytes", maxTrustDomain)
	}
	return nil
}

// CheckID says what is wrong with the SPIFFE ID of a workload, as in
// spiffe://example.org/jotsmith.
func CheckID(text string) error {
	id, err := spiffeid.FromString(text)
	if err != nil {
		return err
	}
	return workloadID(id)
}

// trustDomain reads the name of a trust domain, as in example.org.
func trustDomain(name string) (spiffeid.TrustDomain, error) {
	domain, err := spiffeid.TrustDomainFromString(name)
	if err == nil && (domain.Name() != name || len(name) > maxTrustDomain) {
		err = errors.New("it has the form of example.org, and at most 255 bytes")
	}
	if err != nil {
		return spiffeid.TrustDomain{}, fmt.Errorf("%q is no trust domain: %w", name, err)
	}
	return domain, nil
}
