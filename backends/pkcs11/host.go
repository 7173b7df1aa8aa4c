//go:build cgo && unix

package pkcs11

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// childArgument makes a program that calls RunChildIfAsked the host of a module.
const childArgument = "pkcs11-module-host"

// The child's ends of the two pipes, after standard error.
const (
	childReads  = 3
	childWrites = 4
)

// RunChildIfAsked is for the first line of main. In a process that was started
// to hold a module for a backend with isolate=true it serves that and exits; in
// any other it returns at once.
func RunChildIfAsked() {
	if len(os.Args) != 2 || os.Args[1] != childArgument {
		return
	}
	// The end of the pipe is the only order to end: a signal to the whole group
	// must not take the module away from calls that the parent still drains.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := backends.HardenProcess(); err != nil { // the PIN passes through this memory
		_, _ = fmt.Fprintln(os.Stderr, err) // which the parent logs
		os.Exit(1)                          //nolint:forbidigo // this is the child's main
	}
	in, out := os.NewFile(childReads, "requests"), os.NewFile(childWrites, "answers")
	syscall.CloseOnExec(childReads)
	syscall.CloseOnExec(childWrites)
	h := &host{out: out, pending: map[uint64]func(*message){}}
	//nolint:forbidigo // this is the child's main
	if err := h.serve(context.Background(), in); err != nil && !errors.Is(err, io.EOF) {
		os.Exit(1) //nolint:forbidigo // this is the child's main
	}
	os.Exit(0) //nolint:forbidigo // this is the child's main
}

// host serves one backend to the parent process.
type host struct {
	backend *backend
	key     pinKey

	mu      sync.Mutex // also keeps frames whole
	out     io.Writer
	last    uint64
	pending map[uint64]func(*message) // what waits: a call's cancel, or a question to the parent
}

// serve answers requests until the parent closes the pipe or dies.
func (h *host) serve(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	reader := bufio.NewReader(in)
	for {
		m, err := receive(reader)
		if err != nil {
			if h.backend != nil {
				_ = h.backend.Close()
			}
			return err
		}
		switch m.Op {
		case opOpen:
			h.reply(&message{Op: opOpen, ID: m.ID, Failure: toWire(h.open(m))})
		case opPing:
			answer := &message{Op: opPing, ID: m.ID}
			if h.backend != nil {
				answer.Calling, answer.Searching = h.backend.pool.longest(), h.backend.link.sought()
			}
			h.reply(answer)
		case opDescribe, opSign:
			callCtx, callCancel := h.admit(ctx, m)
			wg.Go(func() {
				defer callCancel()
				h.reply(h.call(callCtx, m))
			})
		case opCancel, opBegin:
			if f := h.take(m.ID); f != nil {
				f(m)
			}
		}
	}
}

func (h *host) open(m *message) error {
	c, err := parseURI(m.URI)
	if err != nil {
		return err
	}
	h.key = m.PINKey
	h.backend, err = openHere(c, h, slog.New(&wireHandler{host: h}), defaultPace())
	if err != nil {
		return err
	}
	h.backend.keys.report = h.reportKey
	for _, k := range m.Keys {
		if public, err := publicFromInfo(k.Public, nil); err == nil {
			h.backend.keys.expect(k.ID, public, k.Latched.err())
		}
	}
	return nil
}

// admit gives a call its context, which the parent may cancel.
func (h *host) admit(ctx context.Context, m *message) (context.Context, context.CancelFunc) {
	timeout := m.Timeout
	if timeout == 0 {
		timeout = math.MaxInt64 // the caller will wait
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending[m.ID] = func(*message) { cancel() }
	return ctx, cancel
}

func (h *host) call(ctx context.Context, m *message) *message {
	answer := &message{Op: m.Op, ID: m.ID}
	switch {
	case h.backend == nil:
		answer.Failure = toWire(&backends.Error{Kind: backends.ErrUnavailable})
	case m.Op == opSign && len(m.Digest) != len(backends.Digest{}):
		answer.Failure = toWire(&backends.Error{Kind: backends.ErrUnavailable, Err: errors.New("the digest is not of 32 bytes")})
	case m.Op == opSign:
		sig, err := h.backend.Sign(ctx, m.KeyID, backends.Digest(m.Digest))
		answer.Signature, answer.Failure = sig[:], toWire(err)
	default:
		info, err := h.backend.Describe(ctx, m.KeyID)
		if err == nil {
			answer.Public, err = x509.MarshalPKIXPublicKey(info.PublicKey)
		}
		answer.CanonicalID, answer.Failure = info.CanonicalID, toWire(err)
	}
	h.take(m.ID)
	return answer
}

func (h *host) take(id uint64) func(*message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.pending[id]
	delete(h.pending, id)
	return f
}

// reply writes a frame. If the parent is gone, serve notices.
func (h *host) reply(m *message) { _ = h.write(m) }

func (h *host) write(m *message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return send(h.out, m)
}

// The pinLedger of a child is its parent's, which outlives it.

func (h *host) digest(serial string, p pin) pinDigest { return h.key.digest(serial, p) }

func (h *host) begin(d pinDigest) (verdict, error) {
	answer := make(chan verdict, 1)
	h.mu.Lock()
	h.last++
	id := h.last | 1<<63 // apart from the parent's
	h.pending[id] = func(m *message) { answer <- m.Verdict }
	h.mu.Unlock()
	if err := h.write(&message{Op: opBegin, ID: id, Digest: d[:]}); err != nil {
		return verdictPending, err
	}
	return <-answer, nil // or the parent dies, and this process with it
}

func (h *host) mark(d pinDigest, v verdict) error {
	return h.write(&message{Op: opMark, Digest: d[:], Verdict: v})
}

func (h *host) end(d pinDigest, v verdict) error {
	return h.write(&message{Op: opEnd, Digest: d[:], Verdict: v})
}

func (h *host) reportKey(id string, found key, latched error) {
	public, err := x509.MarshalPKIXPublicKey(found.public)
	if err == nil {
		h.reply(&message{Op: opKey, KeyID: id, Public: public, Failure: toWire(latched)})
	}
}

// wireHandler sends log records to the parent.
type wireHandler struct{ host *host }

func (w *wireHandler) Enabled(context.Context, slog.Level) bool { return true }
func (w *wireHandler) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *wireHandler) WithGroup(string) slog.Handler            { return w }
func (w *wireHandler) Handle(_ context.Context, r slog.Record) error {
	m := &message{Op: opLog, Level: r.Level, Text: r.Message, Attributes: map[string]string{}}
	r.Attrs(func(a slog.Attr) bool {
		m.Attributes[a.Key] = a.Value.String()
		return true
	})
	return w.host.write(m)
}

// longest says how long the longest call has been under way.
func (p *pool) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest time.Duration
	for w := range p.workers {
		if t := w.current.Load(); t != nil {
			longest = max(longest, time.Since(t.began))
		}
	}
	return longest
}

// sought says how long the attempt to find the token has been under way.
func (l *link) sought() time.Duration {
	began := l.searching.Load()
	if began == 0 {
		return 0
	}
	return time.Since(time.Unix(0, began))
}
