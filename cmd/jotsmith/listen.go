package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/jotsmith/jotsmith/backends"
	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service/authn"
)

// address is what is listened on: a Unix socket with its mode, or TCP.
type address struct {
	network, name string
	mode          fs.FileMode
}

// listener is one address with the server that answers there.
type listener struct {
	address
	server   protocol
	own      int // places for connections that nobody else takes; 0 shares those of all
	listener net.Listener
}

func (a address) String() string { return a.network + ":" + a.name }

// describeListener says where to listen. trust is nil where there is no TLS, and
// where a SPIFFE agent has the terms.
func describeListener(l *configv1.Listener) (where address, trust *authn.Trust, err error) {
	if u := l.GetUnix(); u != nil {
		where, err := describeSocket(u)
		return where, nil, err
	}
	where = address{network: "tcp", name: l.GetTcp().GetAddress()}
	if l.GetTcp().GetSpiffe() != nil || l.GetTcp().GetPlaintextLoopback() {
		return where, nil, nil
	}
	terms, err := readTerms(l.GetTcp())
	if err != nil {
		return address{}, nil, err
	}
	return where, authn.NewTrust(terms), nil
}

// describeSocket says where a Unix socket is, and who may connect.
func describeSocket(u *configv1.UnixListener) (address, error) {
	mode, err := strconv.ParseUint(u.GetMode(), 8, 9)
	if err != nil {
		return address{}, fmt.Errorf("mode of %s: %w", u.GetPath(), err)
	}
	return address{"unix", u.GetPath(), fs.FileMode(mode)}, nil
}

// credentialsOf says how the callers of a listener are known.
func credentialsOf(l *configv1.Listener, trust *authn.Trust) credentials.TransportCredentials {
	switch {
	case trust != nil && l.GetHttp() != nil:
		return trust.HTTPCredentials()
	case l.GetUnix() != nil:
		return authn.UnixCredentials()
	case l.GetTcp().GetPlaintextLoopback():
		return authn.LoopbackCredentials()
	}
	return trust.Credentials()
}

// readTerms reads the files of a TLS listener.
func readTerms(t *configv1.TcpListener) (authn.Terms, error) {
	certificate, err := readCertificate(t)
	if err != nil {
		return authn.Terms{}, err
	}
	terms := authn.Terms{Certificate: certificate, Optional: t.GetClientCertificateOptional()}
	if t.GetClientCaFile() == "" { // only a bearer token makes a caller known here
		return terms, nil
	}
	pem, err := backends.ReadFile(t.GetClientCaFile(), maxPEM)
	if err != nil {
		return authn.Terms{}, fmt.Errorf("client CA of %s: %w", t.GetAddress(), err)
	}
	terms.ClientCAs = x509.NewCertPool()
	if !terms.ClientCAs.AppendCertsFromPEM(pem) {
		return authn.Terms{}, fmt.Errorf("client CA of %s: %s holds no PEM certificate", t.GetAddress(), t.GetClientCaFile())
	}
	return terms, nil
}

// maxPEM is far more than a file of certificates has, in bytes.
const maxPEM = 1 << 20

// tlsListener is a listener of the configuration that speaks TLS.
type tlsListener interface {
	GetAddress() string
	GetCertificateFile() string
	GetKeyFile() string
}

// readCertificate reads a TLS listener's certificate, and its key from a file
// that is held to the same as a signing key's.
func readCertificate(t tlsListener) (_ tls.Certificate, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("certificate of %s: %w", t.GetAddress(), err)
		}
	}()
	chain, err := backends.ReadFile(t.GetCertificateFile(), maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := backends.ReadSecretFile(t.GetKeyFile(), maxPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("private key %w", err)
	}
	defer clear(key)
	return tls.X509KeyPair(chain, key)
}

// listen begins to listen. Every open connection holds a place in connections,
// which the listeners share that have none of their own.
func (l *listener) listen(ctx context.Context, connections chan struct{}) error {
	if l.network == "unix" {
		if err := removeStale(ctx, l.name); err != nil {
			return err
		}
	}
	raw, err := new(net.ListenConfig).Listen(ctx, l.network, l.name)
	if err != nil {
		return err
	}
	if l.network == "unix" {
		if err := os.Chmod(l.name, l.mode); err != nil {
			return errors.Join(err, raw.Close())
		}
	}
	if l.network == "tcp" {
		l.name = raw.Addr().String() // the port may have been the system's choice
	}
	if l.own > 0 {
		connections = make(chan struct{}, l.own)
	}
	l.listener = &limitedListener{Listener: raw, places: connections, closed: make(chan struct{})}
	return nil
}

// remove removes the socket file, if the listener made one and it is still
// there.
func (l *listener) remove() error {
	if l.network != "unix" || l.listener == nil {
		return nil
	}
	if err := os.Remove(l.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeStale removes a socket that nobody listens on any more. Everything
// else in the way is refused.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // it was opened only to see that somebody answers
		return fmt.Errorf("another server listens on %s", path)
	}
	return os.Remove(path)
}

// limitedListener accepts a connection only when there is a place for it.
type limitedListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placedConn gives its place back when it is closed.
type placedConn struct {
	net.Conn
	leave func()
}

func (c *placedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// SyscallConn gives the socket to whoever asks the kernel about its peer.
func (c *placedConn) SyscallConn() (syscall.RawConn, error) {
	conn, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return conn.SyscallConn()
}
