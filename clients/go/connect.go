package jotsmith

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/keepalive"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// DefaultAddress is where Connect looks for a server that nobody names.
const DefaultAddress = "unix:///run/jotsmith/jotsmith.sock"

const (
	defaultTimeout = 10 * time.Second
	defaultKept    = 1024
)

// ErrNoIdentity is the error for an address of TCP without anything that would make
// the caller known there.
var ErrNoIdentity = errors.New("a server at HOST:PORT wants a client certificate or a token; set Cert and Key, or BearerFile")

// Settings are how a Client reaches its server and what it keeps. Connect takes
// each that is not set from the environment, where it names a variable.
type Settings struct {
	// CA is a PEM file of the CAs that the server's certificate must chain to
	// (JOTSMITH_TLS_CA). Empty means the system's.
	CA string
	// Cert and Key are PEM files of the client certificate and its key
	// (JOTSMITH_TLS_CERT, JOTSMITH_TLS_KEY).
	Cert, Key string
	// ServerName is the name in the server's certificate, if it is not the host of
	// the address (JOTSMITH_TLS_SERVER_NAME).
	ServerName string
	// Bearer is a token that makes the caller known, as of Kubernetes or a CI system.
	Bearer string
	// BearerFile is a file with one, read again for each call (JOTSMITH_BEARER_FILE).
	BearerFile string
	// PlaintextLoopback is for a server at 127.0.0.1:PORT or [::1]:PORT that has no
	// TLS there: whoever listens there is taken for the server
	// (JOTSMITH_PLAINTEXT_LOOPBACK=true).
	PlaintextLoopback bool
	// Timeout is how long a call takes at most, retries included; less where its
	// context ends before. 0 means 10 s.
	Timeout time.Duration
	// MaxKept is how many different requests have their tokens kept. 0 means 1024.
	MaxKept int
	// DialOptions are added to the connection's.
	DialOptions []grpc.DialOption
}

// Client gets tokens from a server. It is safe for concurrent use; a program needs
// one for each server. Close it when done.
type Client struct {
	conn    *grpc.ClientConn
	tokens  jotsmithv1.TokenServiceClient
	keys    jotsmithv1.KeyServiceClient
	timeout time.Duration
	kept    *keeper
}

// Connect returns a Client of the server at an address, `unix:///PATH` or
// `HOST:PORT`. Empty means what JOTSMITH_ADDRESS says, and DefaultAddress where that
// is empty too. A Unix socket is plaintext, and the kernel says who calls; TCP is
// TLS 1.3, but where PlaintextLoopback says otherwise. Nobody is called yet: the first call makes the connection, and
// every later one mends it. An error is about the settings and files.
func Connect(address string, settings ...Setting) (*Client, error) {
	var s Settings
	for _, set := range settings {
		set(&s)
	}
	if address == "" {
		address = os.Getenv("JOTSMITH_ADDRESS")
	}
	if address == "" {
		address = DefaultAddress
	}
	unix := strings.HasPrefix(address, "unix:")
	s.fill(unix)
	conn, err := s.Dial(address)
	if err != nil {
		return nil, err
	}
	c := &Client{
		conn: conn, tokens: jotsmithv1.NewTokenServiceClient(conn), keys: jotsmithv1.NewKeyServiceClient(conn), timeout: s.Timeout,
	}
	c.kept = newKeeper(c.mint, s.Timeout, s.MaxKept)
	return c, nil
}

// A Setting changes the Settings of Connect.
type Setting func(*Settings)

// With sets all Settings at once.
func With(s Settings) Setting { return func(to *Settings) { *to = s } }

// TLS sets the files of a connection over TCP; an empty one is left as it is.
func TLS(ca, cert, key string) Setting {
	return func(s *Settings) { s.CA, s.Cert, s.Key = ca, cert, key }
}

// BearerFile sets Settings.BearerFile.
func BearerFile(path string) Setting { return func(s *Settings) { s.BearerFile = path } }

// Bearer sets Settings.Bearer.
func Bearer(token string) Setting { return func(s *Settings) { s.Bearer = token } }

// Timeout sets Settings.Timeout.
func Timeout(d time.Duration) Setting { return func(s *Settings) { s.Timeout = d } }

// fill sets what is not set. A Unix socket takes nothing of TLS from the
// environment, which may be there for another server.
func (s *Settings) fill(unix bool) {
	env := func(value *string, name string) {
		if *value == "" {
			*value = os.Getenv(name)
		}
	}
	if !unix {
		env(&s.CA, "JOTSMITH_TLS_CA")
		if s.Cert == "" && s.Key == "" {
			env(&s.Cert, "JOTSMITH_TLS_CERT")
			env(&s.Key, "JOTSMITH_TLS_KEY")
		}
		env(&s.ServerName, "JOTSMITH_TLS_SERVER_NAME")
	}
	if s.Bearer == "" {
		env(&s.BearerFile, "JOTSMITH_BEARER_FILE")
	}
	s.PlaintextLoopback = s.PlaintextLoopback || os.Getenv("JOTSMITH_PLAINTEXT_LOOPBACK") == "true"
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	if s.MaxKept <= 0 {
		s.MaxKept = defaultKept
	}
}

// Dial returns the bare connection that a Client has, for whoever calls the
// protos. It takes nothing from the environment.
func (s *Settings) Dial(address string) (*grpc.ClientConn, error) {
	target := address
	var transport credentials.TransportCredentials
	var options []grpc.DialOption
	switch {
	case s.PlaintextLoopback:
		if err := s.mayBePlaintext(address); err != nil {
			return nil, err
		}
		// By whatever name or proxy, it goes to no other machine.
		target, transport = "passthrough:///"+address, insecure.NewCredentials()
		options = append(options, grpc.WithNoProxy())
	case strings.HasPrefix(address, "unix:"):
		if s.CA != "" || s.Cert != "" || s.Key != "" || s.ServerName != "" {
			return nil, fmt.Errorf("the TLS settings are for HOST:PORT; %s is a Unix socket, which has no TLS", address)
		}
		// Unlike the insecure ones they let a bearer through, and fail on a TCP
		// connection.
		transport = local.NewCredentials()
	default:
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("address %q is neither unix:///PATH nor HOST:PORT", address)
		}
		fresh, err := newFreshTLS(s.CA, s.Cert, s.Key, s.ServerName)
		if err != nil {
			return nil, err
		}
		if s.Cert == "" && s.Bearer == "" && s.BearerFile == "" {
			return nil, ErrNoIdentity
		}
		target, transport = "dns:///"+address, fresh
	}
	options = append(options,
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("jotsmith-go"),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 45 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstBackoff, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}))
	if s.Bearer != "" || s.BearerFile != "" {
		carried := bearer{s.Bearer, s.BearerFile}
		if _, err := carried.read(); err != nil { // which is better said before anybody is called
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(carried))
	}
	return grpc.NewClient(target, append(options, s.DialOptions...)...)
}

// mayBePlaintext says why a connection may not be in plaintext.
func (s *Settings) mayBePlaintext(address string) error {
	at, err := netip.ParseAddrPort(address)
	switch {
	case err != nil || !at.Addr().IsLoopback() || at.Addr().Is4In6():
		return fmt.Errorf("plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for %q", address)
	case s.CA != "" || s.Cert != "" || s.Key != "" || s.ServerName != "":
		return errors.New("the TLS settings and plaintext exclude each other")
	case s.Bearer != "" || s.BearerFile != "":
		return errors.New("a bearer is not sent in plaintext")
	}
	return nil
}

// Conn returns the connection, for RPCs that have no method here. It ends with the
// Client.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Close ends what is under way and the connection.
func (c *Client) Close() error {
	c.kept.close()
	return c.conn.Close()
}

// call makes one call within the Client's timeout, again while it is UNAVAILABLE.
func (c *Client) call(ctx context.Context, once func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return retry(ctx, once)
}

// mint asks for one token.
func (c *Client) mint(ctx context.Context, req *jotsmithv1.MintTokenRequest) (resp *jotsmithv1.MintTokenResponse, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		resp, err = c.tokens.MintToken(ctx, req)
		return err
	})
	return resp, err
}
