// Package authn knows who is at the other end of a connection.
//
// A Caller is worked out once, in the connection's handshake, from what cannot
// be chosen by the other side: the kernel's word on a Unix socket, the client
// certificate on TLS. A call that carries a bearer token has its caller from
// that instead (package oidc). What a caller may do is not decided here.
package authn

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Unix is the kernel's word on the process at the other end of a Unix socket:
// its effective ids at the time it connected.
type Unix struct {
	UID, GID uint32
}

// Names are the subject alternative names that a client certificate makes its
// holder known by: one URI, or else DNS names and e-mail addresses. The common
// name is never among them.
type Names struct {
	URI    string
	DNS    []string
	Emails []string
}

// Token is what a verified token of an OpenID Connect issuer says of its
// holder.
type Token struct {
	Issuer  string            // the issuer's name in the configuration
	Subject string            // sub
	Claims  map[string]string // its claims that are strings, and numbers and booleans as JSON writes them; not to be changed
}

// Caller is an authenticated caller. The zero Caller is nobody.
type Caller struct {
	unix     *Unix
	names    *Names
	token    *Token
	loopback bool
	label    string
	notAfter time.Time
}

// FromUnix returns the caller known by the peer credentials of a Unix socket.
func FromUnix(cred Unix) Caller {
	return Caller{unix: &cred, label: fmt.Sprintf("unix:uid=%d,gid=%d", cred.UID, cred.GID)}
}

// FromLoopback returns whoever is on this machine: all who connect to its
// loopback interface without TLS are one caller.
func FromLoopback() Caller { return Caller{loopback: true, label: "loopback"} }

// FromToken returns the caller known by a token that was verified and is valid
// until notAfter.
func FromToken(token Token, notAfter time.Time) Caller {
	return Caller{token: &token, label: "oidc:" + token.Issuer + ":" + plain(token.Subject), notAfter: notAfter}
}

// plain is text as it is if it has printable ASCII alone, without spaces and
// quotes, and otherwise quoted: in a log, no text looks like two, or like
// another.
func plain(text string) string {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}

// FromCertificate returns the caller known by a client certificate, which the
// TLS handshake has verified. It refuses a certificate with several URI names
// (SPIFFE X509-SVID section 2) and one without any name it takes. A name of no
// characters is none.
func FromCertificate(leaf *x509.Certificate) (Caller, error) {
	var names Names
	switch len(leaf.URIs) {
	case 0:
		for _, name := range leaf.DNSNames {
			if name != "" {
				names.DNS = append(names.DNS, strings.ToLower(name))
			}
		}
		for _, name := range leaf.EmailAddresses {
			if name != "" {
				names.Emails = append(names.Emails, name)
			}
		}
	case 1:
		names.URI = leaf.URIs[0].String()
	default:
		return Caller{}, errors.New("client certificate has more than one URI name")
	}
	label, ok := names.label()
	if !ok {
		return Caller{}, errors.New("client certificate has no URI, DNS or e-mail name")
	}
	return Caller{names: &names, label: label, notAfter: leaf.NotAfter}, nil
}

func (n *Names) label() (string, bool) {
	switch {
	case n.URI != "":
		return "uri:" + n.URI, true
	case len(n.DNS) > 0:
		return "dns:" + n.DNS[0], true
	case len(n.Emails) > 0:
		return "email:" + n.Emails[0], true
	}
	return "", false
}

// Known says whether there is a caller.
func (c Caller) Known() bool { return c.unix != nil || c.names != nil || c.token != nil || c.loopback }

// Expires says whether what made the caller known can be over.
func (c Caller) Expires() bool { return !c.notAfter.IsZero() }

// Expired says whether what made the caller known is over: his token, or his
// certificate or one that it chains to. A connection may outlive them.
func (c Caller) Expired(now time.Time) bool {
	return !c.notAfter.IsZero() && now.After(c.notAfter)
}

// Unix returns the peer credentials, if the caller is known by them.
func (c Caller) Unix() (Unix, bool) {
	if c.unix == nil {
		return Unix{}, false
	}
	return *c.unix, true
}

// Names returns the certificate's names, if the caller is known by them.
func (c Caller) Names() (Names, bool) {
	if c.names == nil {
		return Names{}, false
	}
	return *c.names, true
}

// Token returns what his token says, if the caller is known by one.
func (c Caller) Token() (Token, bool) {
	if c.token == nil {
		return Token{}, false
	}
	return *c.token, true
}

// Loopback says whether the caller is known by nothing but this machine.
func (c Caller) Loopback() bool { return c.loopback }

// Proof says how the caller is known: "peercred", "mtls", "loopback", or "oidc:" and
// the issuer's name in the configuration. It is empty for nobody.
func (c Caller) Proof() string {
	switch {
	case c.unix != nil:
		return "peercred"
	case c.names != nil:
		return "mtls"
	case c.token != nil:
		return "oidc:" + c.token.Issuer
	case c.loopback:
		return "loopback"
	}
	return ""
}

// String names the caller for logs, as in "unix:uid=1000,gid=1000" or
// "uri:spiffe://example.org/ci".
func (c Caller) String() string {
	if !c.Known() {
		return "nobody"
	}
	return c.label
}

// LogValue is String's text.
func (c Caller) LogValue() slog.Value { return slog.StringValue(c.String()) }
