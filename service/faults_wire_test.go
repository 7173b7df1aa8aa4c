package service_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	codepb "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// wire is a client down to its frames, which can do what no gRPC client does.
type wire struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	last   uint32 // stream
}

// patience is how long a wire waits for the server.
const patience = 20 * time.Second

func newWire(t testing.TB, conn net.Conn) *wire {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c := &wire{t: t, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

// dial opens a connection without TLS.
func (w *world) dial(network, address string) *wire {
	w.t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		w.t.Fatal(err)
	}
	return newWire(w.t, conn)
}

// unix opens a connection to the Unix socket, and greets.
func (w *world) unix() *wire {
	w.t.Helper()
	c := w.dial("unix", w.Socket)
	c.greet()
	return c
}

// plain opens a TCP connection without TLS, and greets.
func (w *world) plain(address string) *wire {
	w.t.Helper()
	c := w.dial("tcp", address)
	c.greet()
	return c
}

// shake opens a connection with TLS; what comes of it is the error's to say.
func (w *world) shake(address string, cfg *tls.Config) (*wire, error) {
	w.t.Helper()
	raw := w.dial("tcp", address)
	conn := tls.Client(raw.conn, cfg)
	return newWire(w.t, conn), conn.Handshake()
}

// tls opens a connection with TLS, and greets.
func (w *world) tls(address string, cfg *tls.Config) *wire {
	w.t.Helper()
	c, err := w.shake(address, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	c.greet()
	return c
}

// greet sends HTTP/2's preface.
func (c *wire) greet() {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, http2.ClientPreface); err != nil {
		c.t.Fatal(err)
	}
	c.must(c.framer.WriteSettings())
}

func (c *wire) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// headers returns the block of a call's headers; more are names and values in
// turn, which are added or stand for those that every call has.
func (c *wire) headers(path string, more ...string) []byte {
	c.t.Helper()
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}
	usual := len(fields)
add:
	for i := 0; i < len(more); i += 2 {
		for j := range fields[:usual] {
			if fields[j].Name == more[i] {
				fields[j].Value = more[i+1]
				continue add
			}
		}
		fields = append(fields, hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	c.block.Reset()
	for _, field := range fields {
		c.must(c.enc.WriteField(field))
	}
	return bytes.Clone(c.block.Bytes())
}

// open begins a call and returns its stream.
func (c *wire) open(path string, more ...string) uint32 {
	c.t.Helper()
	stream := c.next()
	block := c.headers(path, more...)
	c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true}))
	return stream
}

// next returns the stream of the next call.
func (c *wire) next() uint32 {
	c.last += 2
	return c.last - 1
}

// call makes a whole call and returns what it gets.
func (c *wire) call(path string, message []byte, more ...string) string {
	c.t.Helper()
	stream := c.open(path, more...)
	c.must(c.framer.WriteData(stream, true, message))
	return c.answer(stream)
}

// message is a valid request as gRPC frames it.
func message(t testing.TB) []byte {
	t.Helper()
	body, err := proto.Marshal(request())
	if err != nil {
		t.Fatal(err)
	}
	return framed(len(body), body)
}

// framed is a message of gRPC that says it has size bytes.
func framed(size int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), body...)
}

// answer reads until the server has said what becomes of a stream, or of the
// connection.
func (c *wire) answer(stream uint32) string {
	c.t.Helper()
	goAway := ""
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return goAway + c.end(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream && frame.StreamEnded() {
				return c.status(frame)
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "RST_STREAM " + frame.ErrCode.String()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = c.framer.WritePing(true, frame.Data) // the connection may be on its way out
			}
		case *http2.GoAwayFrame:
			goAway = "GOAWAY " + frame.ErrCode.String() + ", "
		}
	}
}

// ended reads until the server ends the connection, and returns how.
func (c *wire) ended() string {
	c.t.Helper()
	return c.answer(0)
}

// status is what a call's trailers say.
func (c *wire) status(frame *http2.MetaHeadersFrame) string {
	c.t.Helper()
	fields := map[string]string{":status": "200"}
	for _, field := range frame.Fields {
		fields[field.Name] = field.Value
	}
	number, err := strconv.Atoi(fields["grpc-status"])
	if err != nil {
		c.t.Fatalf("trailers without a status: %v", fields)
	}
	said := codepb.Code_name[int32(number)]
	if details := fields["grpc-status-details-bin"]; details != "" {
		said += " (" + c.reason(details) + ")"
	}
	if fields[":status"] != "200" {
		said = "HTTP " + fields[":status"] + ", " + said
	}
	return said
}

// reason is that of a status with details.
func (c *wire) reason(details string) string {
	c.t.Helper()
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
	c.must(err)
	var st statuspb.Status
	c.must(proto.Unmarshal(data, &st))
	for _, detail := range st.GetDetails() {
		var info errdetails.ErrorInfo
		if detail.MessageIs(&info) {
			c.must(detail.UnmarshalTo(&info))
			return info.GetReason()
		}
	}
	c.t.Fatalf("a status without a reason: %v", &st)
	return ""
}

// end says how a connection has ended.
func (c *wire) end(err error) string {
	c.t.Helper()
	if _, alert, ok := strings.Cut(err.Error(), "remote error: tls: "); ok {
		return "TLS alert: " + alert
	}
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, closed) {
			return "closed"
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing"
	}
	return fmt.Sprintf("%v", err)
}
