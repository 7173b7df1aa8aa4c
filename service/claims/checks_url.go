package claims

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// origin checks a web origin as browsers write one (RFC 6454 section 6.2): the
// scheme, the host in lower case and the port unless it is the scheme's own.
// Verifiers compare origins byte by byte, so no other spelling will do.
func origin(s string) error {
	if rest, ok := strings.CutPrefix(s, "http://"); ok {
		return authority(rest, "80")
	}
	return originOf(s, "does not start with https:// or http://")
}

// httpsOrigin checks an origin of the scheme https.
func httpsOrigin(s string) error { return originOf(s, "does not start with https://") }

func originOf(s, otherwise string) error {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return errors.New(otherwise)
	}
	return authority(rest, "443")
}

// authority checks the host and the port of an origin.
func authority(s, ownPort string) error {
	if strings.ContainsAny(s, `/\?#@`) {
		return errors.New("is more than an origin, which is a scheme, a host and a port alone")
	}
	return hostPort(s, ownPort)
}

// hostPort checks HOST[:PORT]. A port is written without leading zeros, and not
// at all where it is ownPort.
func hostPort(s, ownPort string) error {
	name, port, hasPort := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		var closed bool
		name, port, closed = strings.Cut(s, "]")
		if !closed || port != "" && port[0] != ':' {
			return errNoHost
		}
		name += "]"
		hasPort = port != ""
		port = strings.TrimPrefix(port, ":")
	}
	if !host(name) {
		return errNoHost
	}
	if !hasPort {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0 || port != strconv.FormatUint(n, 10):
		return errors.New("has no port from 1 to 65535 after its \":\"")
	case port == ownPort:
		return errors.New("names the scheme's own port; an origin leaves it out")
	}
	return nil
}

var errNoHost = errors.New("has no host of lower-case ASCII letters, digits, hyphens and dots, or IP address; write other letters as in xn--mnchen-3ya.example")

// dnsLabel is a part of a host's name. The underscore is no host's by RFC 952
// and is in use all the same.
var dnsLabel = regexp.MustCompile(`\A[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\z`)

// host says whether s is a host's name, an IPv4 address, or an IPv6 address in
// brackets, in the one spelling that readers agree on.
func host(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && !a.Is4In6() && a.Zone() == "" && a.String() == inner
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if !dnsLabel.MatchString(label) {
			return false
		}
	}
	// Browsers read a name whose last part is a number as an IPv4 address,
	// and 0x7f.1 too.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' && numeric.MatchString(last) {
		a, err := netip.ParseAddr(s)
		return err == nil && a.String() == s
	}
	return len(s) <= 253
}

var numeric = regexp.MustCompile(`\A(?:[0-9]+|0x[0-9a-f]*)\z`)

// urlText is the characters of RFC 3986 section 2, without the fragment's #.
var urlText = regexp.MustCompile(`\A(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})+\z`)

// httpsURL checks an absolute https URL with a host, without user and fragment.
func httpsURL(s string) error {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return errors.New("does not start with https://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	u, err := url.Parse(s)
	switch {
	case strings.Contains(rest, "#"):
		return errors.New("has a fragment")
	case strings.Contains(rest[:end], "@"):
		return errors.New("has a user's name before its host")
	case err != nil || u.Opaque != "" || !urlText.MatchString(rest):
		return errors.New("is not a URL (RFC 3986)")
	}
	return hostPort(strings.ToLower(rest[:end]), "")
}

// mailbox is what stands before the @ of an address, as RFC 6068 section 2
// writes one without percent-encoding.
var mailbox = regexp.MustCompile(`\A[A-Za-z0-9_~!$'*+-]+(?:\.[A-Za-z0-9_~!$'*+-]+)*\z`)

// contact checks the sub of a VAPID token, a mailto: or an https: URI (RFC 8292
// section 2.1). A mailto: is one address and no more.
func contact(s string) error {
	address, ok := strings.CutPrefix(s, "mailto:")
	if !ok {
		if !strings.HasPrefix(s, "https://") {
			return errors.New("does not start with mailto: or https://")
		}
		return httpsURL(s)
	}
	local, domain, _ := strings.Cut(address, "@")
	if !mailbox.MatchString(local) || !host(strings.ToLower(domain)) {
		return errors.New("is not mailto: and one e-mail address, as in mailto:push@example.org")
	}
	return nil
}
