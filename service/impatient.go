package service

import (
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// impatient are the credentials of a listener whose connections end when their
// client leaves unread what it is sent. gRPC waits for it for ever, the end of
// the connection's age behind the same write, and the place is lost.
type impatient struct {
	credentials.TransportCredentials
	limit time.Duration
}

// ServerHandshake shakes hands, which has a time of its own.
func (i impatient) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := i.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return impatientConn{conn, raw, i.limit}, info, nil
}

// Clone copies the credentials.
func (i impatient) Clone() credentials.TransportCredentials {
	return impatient{i.TransportCredentials.Clone(), i.limit}
}

// impatientConn closes the connection when a write takes longer than its limit.
type impatientConn struct {
	net.Conn
	raw   net.Conn // below TLS, which would wait to say goodbye
	limit time.Duration
}

func (c impatientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.raw.Close() // gRPC would read on
	}
	return n, err
}
