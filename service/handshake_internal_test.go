package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// refusing are credentials whose handshakes end with an error, or do not.
type refusing struct {
	credentials.TransportCredentials
	err error
}

func (r refusing) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, nil, r.err
}

func (r refusing) Clone() credentials.TransportCredentials { return r }

func TestHandshakesThatFailAreCountedAndSomeAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	near, far := net.Pipe()
	defer near.Close() //nolint:errcheck // nothing is asked of it
	defer far.Close()  //nolint:errcheck // nothing is asked of it
	shake := func(err error) {
		t.Helper()
		creds := s.Told(refusing{insecure.NewCredentials(), err}).Clone()
		conn, _, got := creds.ServerHandshake(near)
		if conn != near || !errors.Is(got, err) {
			t.Errorf("%v has become %v", err, got)
		}
	}
	shake(nil)
	shake(io.EOF)
	shake(fmt.Errorf("read: %w", io.EOF))
	if n := s.handshakes.failed.Load(); n != 0 || log.Len() > 0 {
		t.Errorf("%d have failed: %s", n, &log)
	}
	for range 1000 {
		shake(errors.New("tls: no certificate"))
	}
	lines := strings.Count(log.String(), "handshake failed")
	if n := s.handshakes.failed.Load(); n != 1000 || lines < handshakesAtOnce || lines > 2*handshakesAtOnce {
		t.Errorf("%d have failed, in %d lines", n, lines)
	}
	if !strings.Contains(log.String(), "no certificate") || !strings.Contains(log.String(), "peer=pipe") {
		t.Errorf("the log says %.300s", &log)
	}
}
