package service

import (
	"errors"
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
)

// How many handshakes that failed have a line in the log: strangers make them.
const (
	handshakesPerSecond = 1
	handshakesAtOnce    = 10
)

// handshakes are those that failed. gRPC says nothing of them, and their clients know
// no more than that the connection was closed.
type handshakes struct {
	failed atomic.Int64 // since the start
	lines  *rate.Limiter
}

func newHandshakes() *handshakes {
	return &handshakes{lines: rate.NewLimiter(handshakesPerSecond, handshakesAtOnce)}
}

// Told returns credentials that are those of a listener, and have the service told of
// the handshakes that fail. NewServer does so by itself.
func (s *Service) Told(creds credentials.TransportCredentials) credentials.TransportCredentials {
	return told{creds, s}
}

type told struct {
	credentials.TransportCredentials
	service *Service
}

// ServerHandshake shakes hands. A peer that says nothing and goes has not failed: that
// is how ports are probed.
func (t told) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if h := t.service.handshakes; err != nil && !errors.Is(err, io.EOF) {
		h.failed.Add(1)
		if h.lines.Allow() {
			t.service.Log.Warn("handshake failed", "peer", raw.RemoteAddr().String(), "error", err)
		}
	}
	return conn, info, err
}

// Clone copies the credentials.
func (t told) Clone() credentials.TransportCredentials {
	return told{t.TransportCredentials.Clone(), t.service}
}
