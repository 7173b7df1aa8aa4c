package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// defaultAddress is where the commands look for a server that nobody names.
const defaultAddress = "unix:///run/jotsmith/jotsmith.sock"

// client is how a command reaches the server.
type client struct {
	address    string
	ca         string
	cert, key  string
	serverName string
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
}

// dial returns a connection, which is made at the first call.
func (c *client) dial() (*grpc.ClientConn, error) {
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
	if c.cert == "" {
		return nil, fail(exitUsage, errors.New("a server at HOST:PORT wants a client certificate; set --tls-cert and --tls-key"))
	}
	certificate, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("client certificate: %w", err))
	}
	cfg.Certificates = []tls.Certificate{certificate}
	return c.connect("dns:///"+c.address, credentials.NewTLS(cfg))
}

func (c *client) connect(target string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithUserAgent("jotsmith/"+versionText()))
	return conn, fail(exitUsage, err)
}
