package httpjson

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// handshakeTime bounds what a handshake may wait for its peer to read.
const handshakeTime = 10 * time.Second

// Listen returns a listener whose connections have the identity that the
// credentials give them. The handshake is made when a connection is first read, so
// that one who is slow at it stops nobody else.
func Listen(l net.Listener, creds credentials.TransportCredentials) net.Listener {
	return &listener{l, creds}
}

type listener struct {
	net.Listener
	creds credentials.TransportCredentials
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: raw, creds: l.creds}, nil
}

// connKey is what a connection is in a context.
type connKey struct{}

// ConnContext gives the requests of a connection their identity; it is for an
// http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// conn is one connection. Its deadlines are those of the socket below.
type conn struct {
	net.Conn
	creds credentials.TransportCredentials

	once  sync.Once
	above atomic.Pointer[greeted] // nil until the handshake is over
	err   error                   // of the handshake
}

// greeted is what a handshake made: the connection to read and write, and whose it
// is.
type greeted struct {
	net.Conn
	info credentials.AuthInfo
}

// greet makes the handshake, once. The read deadline is the server's, for the first
// request's headers.
func (c *conn) greet() (*greeted, error) {
	c.once.Do(func() {
		if c.err = c.SetWriteDeadline(time.Now().Add(handshakeTime)); c.err != nil {
			return
		}
		above, info, err := c.creds.ServerHandshake(c.Conn)
		if err != nil {
			c.err = err
			return
		}
		c.err = c.SetWriteDeadline(time.Time{})
		c.above.Store(&greeted{above, info})
	})
	return c.above.Load(), c.err
}

// identity is nil before the handshake and where it failed.
func (c *conn) identity() credentials.AuthInfo {
	if above := c.above.Load(); above != nil {
		return above.info
	}
	return nil
}

func (c *conn) Read(p []byte) (int, error) {
	above, err := c.greet()
	if err != nil {
		return 0, err
	}
	return above.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	above, err := c.greet()
	if err != nil {
		return 0, err
	}
	return above.Write(p)
}

// Close says goodbye as the protocol has it.
func (c *conn) Close() error {
	if above := c.above.Load(); above != nil {
		return above.Close()
	}
	return c.Conn.Close()
}
