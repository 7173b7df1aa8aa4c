package jotsmith

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
)

// maxBearer is the longest token that the server reads.
const maxBearer = 8 << 10

// freshTLS are transport credentials that read their files for each connection, so
// that a certificate that was renewed counts from the next one on. What cannot be
// read, because it is being written just then, leaves what was read before.
type freshTLS struct {
	credentials.TransportCredentials // of the first reading, for all but handshakes
	ca, cert, key, serverName        string
	last                             *atomic.Pointer[tls.Config]
}

func newFreshTLS(ca, cert, key, serverName string) (*freshTLS, error) {
	f := &freshTLS{ca: ca, cert: cert, key: key, serverName: serverName, last: &atomic.Pointer[tls.Config]{}}
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	f.last.Store(cfg)
	f.TransportCredentials = credentials.NewTLS(cfg)
	return f, nil
}

func (f *freshTLS) read() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: f.serverName}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("CA of the server: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA of the server: %s holds no PEM certificate", f.ca)
		}
	}
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("a client certificate and its key go together")
	}
	if f.cert != "" {
		certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{certificate}
	}
	return cfg, nil
}

// ClientHandshake is that of TLS with what the files hold now.
func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if cfg, err := f.read(); err == nil {
		f.last.Store(cfg)
	}
	return credentials.NewTLS(f.last.Load()).ClientHandshake(ctx, authority, conn)
}

// Clone returns the same: nothing in it changes but what is read.
func (f *freshTLS) Clone() credentials.TransportCredentials {
	return &freshTLS{f.TransportCredentials.Clone(), f.ca, f.cert, f.key, f.serverName, f.last}
}

// bearer is a token that makes the caller known: a text, or a file, which whoever
// wrote it may replace at any time, as Kubernetes does.
type bearer struct{ token, path string }

// GetRequestMetadata returns what a call carries.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b.read()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity keeps gRPC from sending it in the clear, whatever dial
// options a program adds.
func (bearer) RequireTransportSecurity() bool { return true }

// String says nothing of the token.
func (b bearer) String() string { return "bearer " + b.path + " (redacted)" }

// GoString is String.
func (b bearer) GoString() string { return b.String() }

func (b bearer) read() (string, error) {
	if b.path == "" {
		if !alone(b.token) {
			return "", errors.New("bearer: not a token alone")
		}
		return b.token, nil
	}
	info, err := os.Stat(b.path)
	if err != nil {
		return "", fmt.Errorf("bearer file: %w", err)
	}
	if !info.Mode().IsRegular() { // a pipe could be read only once
		return "", fmt.Errorf("bearer file: %s is not a regular file", b.path)
	}
	file, err := os.Open(b.path)
	if err != nil {
		return "", fmt.Errorf("bearer file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxBearer+2))
	if err != nil {
		return "", fmt.Errorf("bearer file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case len(data) > maxBearer+1:
		return "", fmt.Errorf("bearer file: %s is longer than a token can be", b.path)
	case !alone(token):
		return "", fmt.Errorf("bearer file: %s does not hold a token alone", b.path)
	}
	return token, nil
}

// alone says whether a text can be a token and nothing else.
func alone(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
