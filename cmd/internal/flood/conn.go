package flood

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

const (
	// drainTime is how long the last answers are waited for.
	drainTime = 5 * time.Second
	// window is what the server may send ahead, on a stream and on the connection.
	window = 1 << 30
	// firstWindow is what the server takes ahead on a new connection (RFC 9113 6.9.2).
	firstWindow = 65_535
)

// conn is one connection.
type conn struct {
	net.Conn
	pace    float64 // calls a second; 0 is without
	tick    time.Duration
	headers []byte // of every call, encoded by HPACK
	message []byte // with gRPC's five bytes before it

	mu     sync.Mutex
	out    *bufio.Writer
	framer *http2.Framer        // writes to out; reading needs no mu
	room   *sync.Cond           // says that ready may have changed
	free   int                  // streams that could be opened
	quota  int                  // bytes of messages that the server takes yet
	taken  int                  // bytes of answers that the server may send again
	next   uint32               // id of the next stream
	sent   map[uint32]time.Time // when the calls under way were sent
	fault  error                // why nothing more is read

	unasked int
	took    map[codes.Code][]time.Duration // from sent to the end, by how it ended
}

func open(ctx context.Context, call Call, party Party) (*conn, error) {
	raw, err := party.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{
		Conn: raw, pace: party.Pace / float64(party.Connections), tick: party.Tick, headers: headers(call.Method), message: framed(call.Message),
		out: bufio.NewWriterSize(raw, 64<<10), free: party.Streams, quota: firstWindow, next: 1,
		sent: map[uint32]time.Time{}, took: map[codes.Code][]time.Duration{},
	}
	c.room = sync.NewCond(&c.mu)
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(raw, 64<<10))
	c.framer.SetReuseFrames()
	_, err = c.out.WriteString(http2.ClientPreface)
	err = errors.Join(err,
		c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
			http2.Setting{ID: http2.SettingEnablePush, Val: 0}),
		c.framer.WriteWindowUpdate(0, window),
		c.out.Flush())
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return c, nil
}

// headers are the request's, encoded so that they refer to no dynamic table.
func headers(method string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":path", method},
		{":authority", "localhost"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"grpc-timeout", "10S"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // a buffer takes everything
	}
	return block.Bytes()
}

// framed is a message as gRPC sends it: not compressed, its length, itself.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// run asks until ctx ends, and waits for the last answers.
func (c *conn) run(ctx context.Context) error {
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.fail(c.read())
	}()
	err := c.askAll(ctx)
	if err == nil {
		err = c.drain()
	}
	_ = c.Close() // which ends the reader
	<-read
	return err
}

// askAll asks until ctx ends.
func (c *conn) askAll(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.fail(nil) })
	defer stop()
	if c.pace > 0 {
		return c.askPaced(ctx)
	}
	for ctx.Err() == nil {
		if err := c.askSoon(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) askPaced(ctx context.Context) error {
	ticks := time.NewTicker(c.tick)
	defer ticks.Stop()
	began, begun := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		due := int(time.Since(began).Seconds()*c.pace) - begun
		begun += due
		if err := c.askNow(due); err != nil {
			return err
		}
	}
}

// askSoon waits for a stream and begins as many calls as there are streams.
func (c *conn) askSoon(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ready() && c.fault == nil && ctx.Err() == nil {
		c.room.Wait()
	}
	_, err := c.begin(c.free)
	return err
}

// askNow begins so many calls, and counts those that find no stream free.
func (c *conn) askNow(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun, err := c.begin(n)
	c.unasked += n - begun
	return err
}

// begin begins at most so many calls. The caller holds mu.
func (c *conn) begin(n int) (begun int, err error) {
	now := time.Now()
	for ; begun < n && c.ready() && err == nil; begun++ {
		id := c.next
		c.next += 2
		c.free--
		c.quota -= len(c.message)
		c.sent[id] = now
		err = errors.Join(
			c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers, EndHeaders: true}),
			c.framer.WriteData(id, true, c.message))
	}
	return begun, errors.Join(c.fault, err, c.out.Flush())
}

// ready says whether a call could begin. The caller holds mu.
func (c *conn) ready() bool { return c.free > 0 && c.quota >= len(c.message) }

// drain waits for the answers to all that was asked.
func (c *conn) drain() error {
	late := time.AfterFunc(drainTime, func() { c.fail(errors.New("some calls were not answered")) })
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.sent) > 0 && c.fault == nil {
		c.room.Wait()
	}
	return c.fault
}

// fail wakes who waits, for an error or for the end of the time.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
	}
	c.room.Broadcast()
}

// read takes what the server sends, until the connection ends.
func (c *conn) read() error {
	var status string
	dec := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		if f.Name == "grpc-status" {
			status = f.Value
		}
	})
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			status = ""
			if _, err := dec.Write(f.HeaderBlockFragment()); err != nil {
				return err
			}
			if f.StreamEnded() {
				err = c.answered(f.StreamID, status)
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeNo { // which follows an answer that came before the message
				err = c.answered(f.StreamID, strconv.Itoa(int(codes.Unavailable)))
			}
		case *http2.DataFrame:
			err = c.received(len(f.Data()))
		case *http2.WindowUpdateFrame:
			c.granted(f)
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.write(c.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = c.write(func() error { return c.framer.WritePing(true, f.Data) })
			}
		case *http2.GoAwayFrame:
			err = fmt.Errorf("the server goes away: %v", f.ErrCode)
		}
		if err != nil {
			return err
		}
	}
}

// write writes one frame that is no call's.
func (c *conn) write(frame func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(frame(), c.out.Flush())
}

// granted takes note that the server takes more. What is of a stream is more
// than a message ever needs.
func (c *conn) granted(f *http2.WindowUpdateFrame) {
	if f.StreamID == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.quota += int(f.Increment)
		c.room.Signal()
	}
}

// received lets the server send as much again, now and then.
func (c *conn) received(n int) error {
	if c.taken += n; c.taken < window/2 {
		return nil
	}
	n, c.taken = c.taken, 0
	return c.write(func() error { return c.framer.WriteWindowUpdate(0, uint32(n)) })
}

// answered takes note of the end of a call.
func (c *conn) answered(id uint32, status string) error {
	code, err := strconv.ParseUint(status, 10, 32)
	if err != nil {
		return fmt.Errorf("answer with grpc-status %q", status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sent, ok := c.sent[id]
	if !ok {
		return nil
	}
	delete(c.sent, id)
	c.free++
	c.took[codes.Code(code)] = append(c.took[codes.Code(code)], time.Since(sent))
	c.room.Signal()
	return nil
}
