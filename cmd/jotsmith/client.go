package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

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
	add(&c.address, "address", "JOTSMITH_ADDRESS", jotsmithgo.DefaultAddress, "the server: unix:///PATH or HOST:PORT")
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
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	conn, err := settings.Dial(c.address)
	return conn, dialFault(err)
}

// settings are those of the library, which the flags say.
func (c *client) settings() (jotsmithgo.Settings, error) {
	tls := c.ca != "" || c.cert != "" || c.key != "" || c.serverName != ""
	var err error
	switch { // what Dial would say as well, in the words of the flags
	case c.plaintext && tls:
		err = errors.New("the --tls flags and --plaintext-loopback exclude each other")
	case c.plaintext && c.bearerFile != "":
		err = errors.New("a token is not sent in plaintext; leave out --bearer-file or --plaintext-loopback")
	case tls && strings.HasPrefix(c.address, "unix:"):
		err = errors.New("the --tls flags are for HOST:PORT; a Unix socket has no TLS")
	}
	return jotsmithgo.Settings{
		CA: c.ca, Cert: c.cert, Key: c.key, ServerName: c.serverName, BearerFile: c.bearerFile, PlaintextLoopback: c.plaintext,
		DialOptions: []grpc.DialOption{grpc.WithUserAgent("jotsmith/" + versionText())},
	}, fail(exitUsage, err)
}

// dialFault is what a command says of an error of the settings.
func dialFault(err error) error {
	if errors.Is(err, jotsmithgo.ErrNoIdentity) {
		err = errors.New("a server at HOST:PORT wants a client certificate or a token; set --tls-cert and --tls-key, or --bearer-file")
	}
	return fail(exitUsage, err)
}
