package service_test

import (
	"bytes"
	"io"

	"golang.org/x/net/http2"

	"github.com/jotsmith/jotsmith/service"
	"github.com/jotsmith/jotsmith/service/servicetest"
)

// floodFaults are those whose point is how many they are.
func floodFaults() []fault {
	// flood writes frames until the server has enough of them. What it answers
	// is left to whoever reads next.
	flood := func(c *wire, write func(*http2.Framer)) {
		var frames bytes.Buffer
		out := http2.NewFramer(&frames, nil)
		out.AllowIllegalWrites = true
		write(out)
		_, _ = io.Copy(c.conn, &frames) // it may end it before
	}
	many := func(c *wire, n int, frame func(out *http2.Framer)) {
		flood(c, func(out *http2.Framer) {
			for range n {
				frame(out)
			}
		})
	}
	// ask floods a good connection, which goes on.
	ask := func(do func(c *wire)) func(*world) string {
		return func(w *world) string {
			c := w.tls(w.mtls, w.good)
			do(c)
			w.look()
			if after := c.call(unknownMethod, message(w.t)); after != "UNIMPLEMENTED" {
				return "the next call gets " + after
			}
			return "the connection goes on"
		}
	}
	const memory = 24 << 20
	return []fault{
		{
			name: "20,000 calls that are reset at once", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				block := c.headers(mintMethod)
				many(c, 20_000, func(out *http2.Framer) {
					stream := c.next()
					_ = out.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true})
					_ = out.WriteRSTStream(stream, http2.ErrCodeCancel)
				})
			}),
		},
		{
			name: "20,000 calls that have the server reset them", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				block := c.headers(watchMethod)
				many(c, 20_000, func(out *http2.Framer) {
					stream := c.next()
					_ = out.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true})
					_ = out.WriteWindowUpdate(stream, 0)
				})
			}),
		},
		{
			name: "20,000 calls without a client's patience for their answers", want: "RST_STREAM REFUSED_STREAM", memory: memory,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
				block := c.headers(healthMethod)
				many(c, 20_000, func(out *http2.Framer) {
					stream := c.next()
					_ = out.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true})
					_ = out.WriteData(stream, true, framed(0, nil))
				})
				w.look()
				return c.answer(c.last - 1)
			},
		},
		{
			name: "20,000 empty parts of headers", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				stream, block := c.next(), c.headers(unknownMethod)
				flood(c, func(out *http2.Framer) {
					_ = out.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndStream: true})
					for range 20_000 {
						_ = out.WriteContinuation(stream, false, nil)
					}
					_ = out.WriteContinuation(stream, true, nil)
				})
			}),
		},
		{
			name: "20,000 empty frames of data", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				stream := c.open(mintMethod)
				many(c, 20_000, func(out *http2.Framer) { _ = out.WriteData(stream, false, nil) })
				c.must(c.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
			}),
		},
		{
			name: "60 KiB on each of 4 calls in frames of one byte", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				for range 4 {
					stream := c.open(mintMethod)
					flood(c, func(out *http2.Framer) {
						_ = out.WriteData(stream, false, framed(64<<10, nil))
						for range 60 << 10 {
							_ = out.WriteData(stream, false, []byte{0})
						}
					})
				}
				c.settled()
			}),
		},
		{
			name: "60 KiB on every call that a connection may have, unread", want: "RST_STREAM REFUSED_STREAM", memory: servicetest.MaxStreams * (64<<10 + 16<<10) * 2,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				for range servicetest.MaxStreams {
					stream := c.open(mintMethod)
					c.must(c.framer.WriteData(stream, false, framed(64<<10, nil)))
					for range 4 {
						c.must(c.framer.WriteData(stream, false, make([]byte, 15<<10)))
					}
				}
				c.settled()
				w.look()
				return c.call(unknownMethod, message(w.t))
			},
		},
		{
			name: "pings", want: "GOAWAY ENHANCE_YOUR_CALM, closed", memory: memory,
			do: func(w *world) string {
				c := w.tls(w.mtls, w.good)
				many(c, 20_000, func(out *http2.Framer) { _ = out.WritePing(false, [8]byte{}) })
				w.look()
				return c.ended()
			},
		},
		{
			name: "20,000 settings", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				many(c, 20_000, func(out *http2.Framer) {
					_ = out.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
				})
				c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16}))
			}),
		},
		{
			name: "20,000 window updates", want: "the connection goes on", memory: memory,
			do: ask(func(c *wire) {
				many(c, 20_000, func(out *http2.Framer) { _ = out.WriteWindowUpdate(0, 1) })
			}),
		},
		{
			name: "settings whose answers nobody reads", want: "closed", memory: memory, within: 16 * soon,
			times: except(func(t *service.Times) { t.Write = soon }),
			do: func(w *world) string {
				c := w.unix() // whose buffers are small
				many(c, 500_000, func(out *http2.Framer) { _ = out.WriteSettings() })
				w.look()
				return c.ended()
			},
		},
	}
}

const healthMethod = "/grpc.health.v1.Health/Check"

// settled returns when the server has read all that was sent before.
func (c *wire) settled() {
	c.t.Helper()
	c.must(c.framer.WritePing(false, [8]byte{'s'}))
	for {
		frame, err := c.framer.ReadFrame()
		c.must(err)
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}
