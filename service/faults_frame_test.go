package service_test

import (
	"bytes"
	"net"
	"strings"

	"golang.org/x/net/http2"

	"github.com/jotsmith/jotsmith/service"
)

// frameFaults are those of HTTP/2, most of which end the connection.
func frameFaults() []fault {
	ask := func(do func(c *wire) string) func(*world) string {
		return func(w *world) string { return do(w.tls(w.mtls, w.good)) }
	}
	begin := func(c *wire, stream uint32, block []byte) {
		c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true}))
	}
	return []fault{
		{
			name: "1 MiB of metadata", want: "closed", memory: 8 << 20,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				block := c.headers(mintMethod, "x", strings.Repeat("x", 1<<20))
				_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]})
				for block = block[16<<10:]; len(block) > 0; block = block[min(16<<10, len(block)):] {
					if c.framer.WriteContinuation(1, len(block) <= 16<<10, block[:min(16<<10, len(block))]) != nil {
						break // the server has ended it
					}
				}
				w.look()
				return c.ended()
			},
		},
		{
			name: "a small block of headers that stands for a large one", want: "RST_STREAM FRAME_SIZE_ERROR", memory: 8 << 20,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				block := c.headers(mintMethod, "x", strings.Repeat("x", 3<<10)) // the last entry of the table
				for range 8 << 10 {
					block = append(block, 0x80|62) // which is the first
				}
				begin(c, 1, block)
				got := c.answer(1)
				w.look()
				return got
			},
		},
		{
			name: "headers that cannot be decompressed", want: "closed",
			do: ask(func(c *wire) string {
				begin(c, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
				return c.ended()
			}),
		},
		{
			name: "a stream with an even number", want: "GOAWAY PROTOCOL_ERROR, closed",
			do: ask(func(c *wire) string {
				begin(c, 2, c.headers(mintMethod))
				return c.ended()
			}),
		},
		{
			name: "the number of a stream that was", want: "GOAWAY PROTOCOL_ERROR, closed",
			do: ask(func(c *wire) string {
				if got := c.call(unknownMethod, message(c.t)); got != "UNIMPLEMENTED" {
					return got
				}
				begin(c, 1, c.headers(mintMethod))
				return c.ended()
			}),
		},
		{
			name: "data without a stream", want: "closed",
			do: ask(func(c *wire) string {
				c.must(c.framer.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")))
				return c.ended()
			}),
		},
		{
			name: "a frame that says that it has 16 MiB", want: "closed", memory: 8 << 20,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				c.open(mintMethod)
				_, err := c.conn.Write([]byte{0xff, 0xff, 0xff, byte(http2.FrameData), 0, 0, 0, 0, 1})
				c.must(err)
				w.look()
				return c.ended()
			},
		},
		{
			name: "more data than the window of a stream", want: "RST_STREAM FLOW_CONTROL_ERROR", memory: 8 << 20,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				// Answers that have no way out keep the server from reading on.
				c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
				stream := c.open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
				const listServices = ":\x01*"
				requests := bytes.Repeat(framed(len(listServices), []byte(listServices)), 2<<10)
				for range 12 { // of 16 KiB
					c.must(c.framer.WriteData(stream, false, requests))
				}
				w.look()
				return c.answer(stream)
			},
		},
		{
			name: "data after the end of a stream", want: "RST_STREAM STREAM_CLOSED",
			do: ask(func(c *wire) string {
				stream := c.open("/grpc.health.v1.Health/Watch") // which has no end of its own
				c.must(c.framer.WriteData(stream, true, framed(0, nil)))
				c.must(c.framer.WriteData(stream, true, []byte("x")))
				return c.answer(stream)
			}),
		},
		{
			name: "frames between the parts of headers", want: "closed",
			do: ask(func(c *wire) string {
				c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(mintMethod)}))
				c.must(c.framer.WritePing(false, [8]byte{}))
				return c.ended()
			}),
		},
		{
			name: "a window update of nothing", want: "closed",
			do: ask(func(c *wire) string {
				c.must(c.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 0, 0}))
				return c.ended()
			}),
		},
		{
			name: "window updates beyond 2 GiB", want: "UNIMPLEMENTED",
			do: ask(func(c *wire) string {
				stream := c.open(unknownMethod)
				for range 4 {
					c.must(c.framer.WriteWindowUpdate(0, 1<<31-1))
					c.must(c.framer.WriteWindowUpdate(stream, 1<<31-1))
				}
				return c.answer(stream)
			}),
		},
		{
			name: "settings that no HTTP/2 has", want: "closed",
			do: ask(func(c *wire) string {
				c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
				return c.ended()
			}),
		},
		{
			name: "a call that is half sent by a client that has ended", want: "closed",
			do: func(w *world) string {
				c := w.unix()
				stream := c.open(mintMethod)
				m := message(w.t)
				c.must(c.framer.WriteData(stream, false, m[:len(m)/2]))
				c.must(c.conn.(*net.UnixConn).CloseWrite())
				return c.ended()
			},
		},
		{
			name: "a call that is half sent, and then silence", want: "GOAWAY NO_ERROR, closed", within: 8 * soon,
			times: except(func(t *service.Times) { t.Age, t.Grace = soon, soon }),
			do: ask(func(c *wire) string {
				stream := c.open(mintMethod)
				m := message(c.t)
				c.must(c.framer.WriteData(stream, false, m[:len(m)/2]))
				return c.ended()
			}),
		},
		{
			name: "silence without a call", want: "GOAWAY NO_ERROR, closed", within: 8 * soon,
			times: except(func(t *service.Times) { t.Idle = soon }),
			do:    ask(func(c *wire) string { return c.ended() }),
		},
	}
}

const watchMethod = "/jotsmith.v1.TokenService/WatchToken"
