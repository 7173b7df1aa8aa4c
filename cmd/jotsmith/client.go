package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jotsmith/jotsmith/service/authn"
)

// defaultAddress is where the commands look for a server that nobody names.
const defaultAddress = "unix:///run/jotsmith/jotsmith.sock"

// client is how a command reaches the server.
type client struct {
	address    string
	ca         string
	cert, key  string
	serverName string
	bearerFile string
	plaintext  bool
}

// addFlags adds the flags; each falls back on an environment variable.
func (c *client) addFlags(flags *pflag.FlagSet) {
	add := func(value *string, name, variable, fallback, usage string) {
		if v := os.Getenv(variable); v != "" {
			fallback = v
		}
		flags.StringVar(value, name, fallback, usage+" (or "+variable+")")
	}
	add(&c.address, "address", "JOTSMITH_ADDRESS", defaultAddress, "the server: unix:///PATH or HOST:PORT")
	add(&c.ca, "tls-ca", "JOTSMITH_TLS_CA", "", "PEM file of the CAs that the server's certificate must chain to; without it, the system's")
	add(&c.cert, "tls-cert", "JOTSMITH_TLS_CERT", "", "PEM file of the client certificate")
	add(&c.key, "tls-key", "JOTSMITH_TLS_KEY", "", "PEM file of its private key")
	add(&c.serverName, "tls-server-name", "JOTSMITH_TLS_SERVER_NAME", "", "the name in the server's certificate, if it is not HOST")
	flags.BoolVar(&c.plaintext, "plaintext-loopback", os.Getenv("JOTSMITH_PLAINTEXT_LOOPBACK") == "true",
		"speak to 127.0.0.1:PORT or [::1]:PORT without TLS: whoever listens there is taken for the server (or JOTSMITH_PLAINTEXT_LOOPBACK=true)")
	add(&c.bearerFile, "bearer-file", "JOTSMITH_BEARER_FILE", "", "file of a token that makes the caller known; read again for each call")
}

// dial returns a connection, which is made at the first call.
func (c *client) dial() (*grpc.ClientConn, error) {
	if c.plaintext {
		return c.dialLoopback()
	}
	if strings.HasPrefix(c.address, "unix:") {
		if c.ca != "" || c.cert != "" || c.key != "" || c.serverName != "" {
			return nil, fail(exitUsage, errors.New("the --tls flags are for HOST:PORT; a Unix socket has no TLS"))
		}
		return c.connect(c.address, insecure.NewCredentials())
	}
	if _, _, err := net.SplitHostPort(c.address); err != nil {
		return nil, fail(exitUsage, fmt.Errorf("address %q is neither unix:///PATH nor HOST:PORT", c.address))
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: c.serverName}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("--tls-ca: %w", err))
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fail(exitUsage, fmt.Errorf("--tls-ca: %s holds no PEM certificate", c.ca))
		}
	}
	if (c.cert == "") != (c.key == "") {
		return nil, fail(exitUsage, errors.New("--tls-cert and --tls-key go together"))
	}
	if c.cert == "" && c.bearerFile == "" {
		return nil, fail(exitUsage, errors.New("a server at HOST:PORT wants a client certificate or a token; set --tls-cert and --tls-key, or --bearer-file"))
	}
	if c.cert != "" {
		certificate, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("client certificate: %w", err))
		}
		cfg.Certificates = []tls.Certificate{certificate}
	}
	return c.connect("dns:///"+c.address, credentials.NewTLS(cfg))
}

// dialLoopback returns a connection in plaintext, which nothing that matters
// goes over: no bearer token, and to no other machine, by whatever name or proxy.
func (c *client) dialLoopback() (*grpc.ClientConn, error) {
	at, err := netip.ParseAddrPort(c.address)
	switch {
	case err != nil || !at.Addr().IsLoopback() || at.Addr().Is4In6():
		return nil, fail(exitUsage, fmt.Errorf("--plaintext-loopback is for 127.0.0.1:PORT or [::1]:PORT, not for %q", c.address))
	case c.ca != "" || c.cert != "" || c.key != "" || c.serverName != "":
		return nil, fail(exitUsage, errors.New("the --tls flags and --plaintext-loopback exclude each other"))
	case c.bearerFile != "":
		return nil, fail(exitUsage, errors.New("a token is not sent in plaintext; leave out --bearer-file or --plaintext-loopback"))
	}
	return c.connect("passthrough:///"+c.address, insecure.NewCredentials(), grpc.WithNoProxy())
}

func (c *client) connect(target string, creds credentials.TransportCredentials, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	options = append(options, grpc.WithTransportCredentials(creds), grpc.WithUserAgent("jotsmith/"+versionText()))
	if c.bearerFile != "" {
		bearer := bearerFile{c.bearerFile}
		if _, err := bearer.read(); err != nil { // which is better said before anybody is called
			return nil, fail(exitUsage, err)
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer))
	}
	conn, err := grpc.NewClient(target, options...)
	return conn, fail(exitUsage, err)
}

// bearerFile is the token in a file, which whoever wrote it may replace at any
// time, as Kubernetes does.
type bearerFile struct {
	path string
}

// GetRequestMetadata returns what a call carries.
func (b bearerFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b.read()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity is false because a Unix socket has none, and whatever
// else dial sends a token over is TLS.
func (bearerFile) RequireTransportSecurity() bool { return false }

func (b bearerFile) read() (string, error) {
	info, err := os.Stat(b.path)
	if err != nil {
		return "", fmt.Errorf("--bearer-file: %w", err)
	}
	if !info.Mode().IsRegular() { // a pipe could be read only once
		return "", fmt.Errorf("--bearer-file: %s is not a regular file", b.path)
	}
	file, err := os.Open(b.path)
	if err != nil {
		return "", fmt.Errorf("--bearer-file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, authn.MaxBearer+2))
	if err != nil {
		return "", fmt.Errorf("--bearer-file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case len(data) > authn.MaxBearer+1:
		return "", fmt.Errorf("--bearer-file: %s is longer than a token can be", b.path)
	case token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("--bearer-file: %s does not hold a token alone", b.path)
	}
	return token, nil
}
