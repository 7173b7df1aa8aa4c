package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
)

// newLog returns the log that the configuration describes, and how to write
// what it still holds back.
func newLog(w io.Writer, cfg *configv1.Log) (log *slog.Logger, flush func()) {
	options := &slog.HandlerOptions{}
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.GetLevel())) == nil { // the rule of the field allows levels alone
		options.Level = level
	}
	lines := &lineBuffer{out: w}
	var handler slog.Handler = slog.NewJSONHandler(lines, options)
	if cfg.GetFormat() == "text" {
		handler = slog.NewTextHandler(lines, options)
	}
	return slog.New(prompt{handler, lines}), lines.flush
}

// How much of the log is held back, and for how long. A write for each call
// would cost a tenth of what a reused token costs.
const (
	maxHeld  = 32 << 10
	holdTime = 100 * time.Millisecond
)

// lineBuffer gathers lines and writes many at once.
type lineBuffer struct {
	out io.Writer

	mu   sync.Mutex
	held []byte
	due  bool // whether a flush is under way
}

// Write holds the lines back for holdTime at most.
func (b *lineBuffer) Write(lines []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, lines...)
	switch {
	case len(b.held) >= maxHeld:
		b.write()
	case !b.due:
		b.due = true
		time.AfterFunc(holdTime, b.flush)
	}
	return len(lines), nil
}

// flush writes what is held back.
func (b *lineBuffer) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = false
	b.write()
}

// write empties the buffer. The caller holds mu.
func (b *lineBuffer) write() {
	if len(b.held) > 0 {
		_, _ = b.out.Write(b.held) // there is nowhere else to say it
		b.held = b.held[:0]
	}
}

// prompt writes what an operator should see at once, and all before it.
type prompt struct {
	slog.Handler
	lines *lineBuffer
}

// Handle writes a record.
func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn || r.Message != service.CallMessage {
		p.lines.flush()
	}
	return err
}

// WithAttrs keeps the promptness.
func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.lines}
}

// WithGroup keeps the promptness.
func (p prompt) WithGroup(name string) slog.Handler {
	return prompt{p.Handler.WithGroup(name), p.lines}
}
