package service_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// greetingFaults are those before the first call.
func greetingFaults() []fault {
	// say writes something else than a greeting and returns how it ends.
	say := func(dial func(*world) *wire, text []byte) func(*world) string {
		return func(w *world) string {
			c := dial(w)
			_, _ = c.conn.Write(text) // the server may end it before all is written
			return c.ended()
		}
	}
	unix := func(w *world) *wire { return w.dial("unix", w.Socket) }
	tcp := func(w *world) *wire { return w.dial("tcp", w.mtls) }
	encrypted := func(w *world) *wire {
		c, err := w.shake(w.mtls, w.good)
		c.must(err)
		return c
	}
	noise := make([]byte, 64<<10)
	_, _ = rand.Read(noise) // never fails
	copy(noise, "\xff\xff") // and is neither TLS nor HTTP/2 by chance
	http1 := []byte("POST " + mintMethod + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n")
	preface := []byte(http2.ClientPreface)
	return []fault{
		{
			name: "TLS 1.2", want: "TLS alert: protocol version not supported",
			do: func(w *world) string {
				cfg := w.good.Clone()
				cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
				c, err := w.shake(w.mtls, cfg)
				return c.shaken(err)
			},
		},
		{
			name: "TLS without HTTP/2", want: "closed",
			do: func(w *world) string {
				cfg := w.good.Clone()
				cfg.NextProtos = []string{"http/1.1"}
				c, err := w.shake(w.mtls, cfg)
				return c.shaken(err)
			},
		},
		{
			name: "TLS without a protocol", want: "closed",
			do: func(w *world) string {
				cfg := w.good.Clone()
				cfg.NextProtos = nil
				c, err := w.shake(w.mtls, cfg)
				return c.shaken(err)
			},
		},
		{name: "plaintext to the TLS port", want: "closed", do: say(tcp, preface)},
		{name: "noise to the TLS port", want: "closed", do: say(tcp, noise)},
		{name: "TLS to the Unix socket", want: "closed", do: refusedTLS(unix)},
		{name: "TLS to the plaintext port", want: "closed", do: refusedTLS(func(w *world) *wire { return w.dial("tcp", w.loopback) })},
		{name: "HTTP/1.1", want: "closed", do: say(encrypted, http1)},
		{name: "HTTP/1.1 to the Unix socket", want: "closed", do: say(unix, http1)},
		{name: "noise in the place of HTTP/2's preface", want: "closed", do: say(encrypted, noise)},
		{name: "noise after HTTP/2's preface", want: "closed", do: say(encrypted, append(bytes.Clone(preface), noise...))},
		{
			name: "a first frame that is no SETTINGS", want: "closed",
			do: func(w *world) string {
				c := encrypted(w)
				_, err := c.conn.Write(preface)
				c.must(err)
				c.must(c.framer.WritePing(false, [8]byte{}))
				return c.ended()
			},
		},
		{name: "silence on the TLS port", want: "closed", times: shortHandshake(), within: 6 * soon, do: say(tcp, nil)},
		{name: "silence after TLS", want: "closed", times: shortHandshake(), within: 6 * soon, do: say(encrypted, nil)},
		{name: "silence on the Unix socket", want: "closed", times: shortHandshake(), within: 6 * soon, do: say(unix, nil)},
		{name: "silence after half of the preface", want: "closed", times: shortHandshake(), within: 6 * soon, do: say(encrypted, preface[:12])},
		{
			name: "a preface of a byte now and then", want: "closed", times: shortHandshake(), within: 6 * soon,
			do: func(w *world) string {
				c := encrypted(w)
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for _, b := range preface {
					if _, err := c.conn.Write([]byte{b}); err != nil {
						break
					}
					<-tick.C
				}
				return c.ended()
			},
		},
		{name: "silence after the preface", want: "closed", times: shortHandshake(), within: 6 * soon, do: say(encrypted, preface)},
	}
}

// refusedTLS shakes hands with a server that does not speak TLS.
func refusedTLS(dial func(*world) *wire) func(*world) string {
	return func(w *world) string {
		raw := dial(w)
		if tls.Client(raw.conn, w.good).Handshake() == nil {
			return "let in"
		}
		// What the server's HTTP/2 says first is no TLS to the client, who tells
		// the server so; then nothing more may come.
		if _, err := io.Copy(io.Discard, raw.conn); err != nil {
			return raw.end(err)
		}
		return "closed"
	}
}
