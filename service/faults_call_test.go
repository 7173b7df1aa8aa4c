package service_test

import (
	"encoding/binary"
	"strings"

	"golang.org/x/net/http2"

	"github.com/jotsmith/jotsmith/service/servicetest"
)

const unknownMethod = "/jotsmith.v1.TokenService/UnknownMethod"

// callFaults are those of a call on a connection that is good, which goes on.
func callFaults() []fault {
	// ask makes a call, and then a good one on the same connection.
	ask := func(call func(c *wire) string) func(*world) string {
		return func(w *world) string {
			c := w.tls(w.mtls, w.good)
			got := call(c)
			if after := c.call(unknownMethod, message(w.t)); after != "UNIMPLEMENTED" {
				return got + ", and the next call " + after
			}
			return got
		}
	}
	path := func(path string) func(*world) string {
		return ask(func(c *wire) string { return c.call(path, message(c.t)) })
	}
	header := func(more ...string) func(*world) string {
		return ask(func(c *wire) string { return c.call(mintMethod, message(c.t), more...) })
	}
	body := func(body []byte) func(*world) string {
		return ask(func(c *wire) string { return c.call(mintMethod, body) })
	}
	return []fault{
		{name: "a path without its slash", want: "UNIMPLEMENTED", do: path(strings.TrimPrefix(mintMethod, "/"))},
		{name: "a path with two slashes", want: "UNIMPLEMENTED", do: path("/" + mintMethod)},
		{name: "a path with dots", want: "UNIMPLEMENTED", do: path("/grpc.health.v1.Health/.." + mintMethod)},
		{name: "an unknown method", want: "UNIMPLEMENTED", do: path(unknownMethod)},
		{name: "an unknown service", want: "UNIMPLEMENTED", do: path("/jotsmith.v1.SecretService/MintToken")},
		{name: "a method of the operators' socket", want: "UNIMPLEMENTED", do: path("/jotsmith.v1.AdminService/Disable")},
		{name: "another content-type", want: "HTTP 415, INVALID_ARGUMENT", do: header("content-type", "application/json")},
		{name: "another HTTP method", want: "HTTP 405, INTERNAL", do: header(":method", "GET")},
		{name: "two hosts", want: "HTTP 400, INTERNAL", do: header("host", "a", "host", "b")},
		{name: "a Connection header", want: "RST_STREAM PROTOCOL_ERROR", do: header("connection", "keep-alive")},
		{name: "a header name in capitals", want: "RST_STREAM PROTOCOL_ERROR", do: header("X-Capitals", "x")},
		{name: "binary metadata that is no base64", want: "HTTP 400, INTERNAL", do: header("x-bin", "!")},
		{name: "a deadline that is over", want: "DEADLINE_EXCEEDED", do: header("grpc-timeout", "0n")},
		{name: "a deadline that is none", want: "HTTP 400, INTERNAL", do: header("grpc-timeout", "soon")},
		{name: "gzip", want: "UNIMPLEMENTED", do: header("grpc-encoding", "gzip")},
		{name: "17 KiB of metadata", want: "RST_STREAM FRAME_SIZE_ERROR", do: header("x", strings.Repeat("x", 17<<10/2), "y", strings.Repeat("y", 17<<10/2))},
		{
			name: "a message that says that it is compressed", want: "INTERNAL",
			do: ask(func(c *wire) string { return c.call(mintMethod, append([]byte{1}, message(c.t)[1:]...)) }),
		},
		{name: "no message", want: "INTERNAL", do: body(nil)},
		{name: "half a message", want: "INTERNAL", do: ask(func(c *wire) string { m := message(c.t); return c.call(mintMethod, m[:len(m)/2]) })},
		{name: "two messages", want: "INTERNAL", do: ask(func(c *wire) string { return c.call(mintMethod, append(message(c.t), message(c.t)...)) })},
		{name: "noise in the place of protobuf", want: "INTERNAL", do: body(framed(3, []byte{0xff, 0xff, 0xff}))},
		{
			name: "a field that says that it has 2 GiB", want: "INTERNAL", memory: 8 << 20,
			do: func(w *world) string {
				got := body(framed(6, append([]byte{0x0a}, binary.AppendUvarint(nil, 2<<30)...)))(w)
				w.look()
				return got
			},
		},
		{name: "a message of 64 KiB and a byte", want: "RESOURCE_EXHAUSTED", do: body(framed(64<<10+1, nil))},
		{name: "a message that says that it has 4 MiB", want: "RESOURCE_EXHAUSTED", do: body(framed(4<<20, nil))},
		{
			name: "a message that says that it has 4 GiB", want: "RESOURCE_EXHAUSTED", memory: 8 << 20,
			do: func(w *world) string {
				got := body(framed(1<<32-1, nil))(w)
				w.look()
				return got
			},
		},
		{
			name: "a request in frames of one byte", want: "OK", record: "minted",
			do: ask(func(c *wire) string {
				stream := c.open(mintMethod)
				m := message(c.t)
				for i := range m {
					c.must(c.framer.WriteData(stream, i == len(m)-1, m[i:i+1]))
				}
				return c.answer(stream)
			}),
		},
		{
			name: "one call more than a connection may have", want: "RST_STREAM REFUSED_STREAM",
			do: ask(func(c *wire) string {
				for range servicetest.MaxStreams {
					c.open(mintMethod)
				}
				got := c.call(mintMethod, message(c.t))
				for stream := uint32(1); stream <= 2*servicetest.MaxStreams; stream += 2 {
					c.must(c.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
				}
				return got
			}),
		},
	}
}
