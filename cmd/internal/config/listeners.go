package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/jotsmith/jotsmith/cmd/internal/config/strictyaml"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/authn/spiffe"
)

func (c *checker) listeners() {
	seen := map[string]bool{}
	for i, l := range c.config.GetListeners() {
		at := strictyaml.Path{"listeners", i}
		var address string
		switch {
		case l.GetUnix() != nil:
			at, address = at.With("unix", "path"), filepath.Clean(l.GetUnix().GetPath())
		default:
			at, address = at.With("tcp", "address"), l.GetTcp().GetAddress()
			host, ok := c.hostPort(at, address, "0.0.0.0:8443")
			tcp := strictyaml.Path{"listeners", i, "tcp"}
			if l.GetTcp().GetPlaintextLoopback() {
				c.plaintext(tcp, l.GetTcp(), host, ok)
				break
			}
			c.certificates(tcp, l.GetTcp())
			c.bearers(tcp, l.GetTcp())
		}
		if seen[address] {
			c.add(at, "%q is listened on twice", address)
		}
		seen[address] = true
	}
}

// hostPort returns the host of an address that is HOST:PORT, and refuses one
// that is not.
func (c *checker) hostPort(at strictyaml.Path, address, example string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		c.add(at, "%q is not HOST:PORT with a number as the port, as in %q or \"[::1]:8443\"", address, example)
		return "", false
	}
	return host, true
}

// plaintext refuses a listener without TLS that more than this machine's own
// processes could reach. A name is refused too: what it means is not for this
// file to say.
func (c *checker) plaintext(at strictyaml.Path, tcp *configv1.TcpListener, host string, ok bool) {
	ip, err := netip.ParseAddr(host)
	if ok && (err != nil || ip.Zone() != "" || ip.Is4In6() || !ip.IsLoopback()) {
		c.add(at.With("address"), "%q is no address of the loopback interface; with plaintext_loopback it has to be 127.0.0.1 or [::1], in digits", tcp.GetAddress())
	}
	if tcp.GetCertificateFile() != "" || tcp.GetKeyFile() != "" || tcp.GetClientCaFile() != "" || tcp.GetClientCertificateOptional() || tcp.GetSpiffe() != nil {
		c.add(at.With("plaintext_loopback"), "there are no certificates in plaintext; remove all that concerns them, or this")
	}
}

// certificates refuses a listener that has its certificate from nowhere, or from
// two places.
func (c *checker) certificates(at strictyaml.Path, tcp *configv1.TcpListener) {
	agent := tcp.GetSpiffe()
	if agent == nil {
		switch {
		case tcp.GetCertificateFile() == "" && tcp.GetKeyFile() == "":
			c.add(at, "set certificate_file and key_file, or spiffe")
		case tcp.GetCertificateFile() == "":
			c.add(at, "set certificate_file too, the certificate of key_file")
		case tcp.GetKeyFile() == "":
			c.add(at, "set key_file too, the private key of certificate_file")
		}
		return
	}
	at = at.With("spiffe")
	if tcp.GetCertificateFile() != "" || tcp.GetKeyFile() != "" || tcp.GetClientCaFile() != "" {
		c.add(at, "the agent brings the certificate, its key and the CAs; remove certificate_file, key_file and client_ca_file, or this")
	}
	if agent.GetSpiffeId() != "" {
		if err := spiffe.CheckID(agent.GetSpiffeId()); err != nil {
			c.add(at.With("spiffe_id"), "%q is no SPIFFE ID of a workload: %v", agent.GetSpiffeId(), err)
		}
	}
}

// ownAddress refuses an address that is one of the listeners'.
func (c *checker) ownAddress(at strictyaml.Path, address string) {
	for i, l := range c.config.GetListeners() {
		if l.GetTcp().GetAddress() == address {
			c.add(at, "is the address of listeners[%d] too", i)
		}
	}
}

// bearers refuses a listener that lets in callers without a certificate where
// there is nothing else to know them by.
func (c *checker) bearers(at strictyaml.Path, tcp *configv1.TcpListener) {
	none := len(c.config.GetIssuers()) == 0
	asked := tcp.GetClientCaFile() != "" || tcp.GetSpiffe() != nil // for certificates
	switch {
	case tcp.GetCertificateFile() == "" && !asked: // which has been said
	case none && !asked:
		c.add(at, "set client_ca_file; it can be left out only where issuers make callers known")
	case none && tcp.GetClientCertificateOptional():
		c.add(at.With("client_certificate_optional"), "there are no issuers, so a caller without a certificate would be nobody; remove this or configure issuers")
	case !asked && tcp.GetClientCertificateOptional():
		c.add(at.With("client_certificate_optional"), "without client_ca_file no certificate is asked for; set it or remove this")
	}
}
