// Package audit is the log that every token is conditional on: what is about
// to be signed is recorded before the signature, what came of it after, and
// where either cannot be recorded the caller of the service gets no token.
//
// The log is a file of JSON lines. Each begins with its number, the SHA-256 of
// the whole line before it, its newline included, and the time:
//
//	{"seq":42,"prev":"5c1f...","time":"2026-11-23T04:00:58.1Z","type":"intent",...}
//
// so that a record cannot be changed, taken out or moved without a trace;
// sed -n 41p audit.jsonl | sha256sum gives what line 42 has as prev. Numbers
// begin with 1 and go on from file to file. The first record of a file is of
// type opened or rotated and has, where there is a file before it, that file's
// name as from and the hash of that file's last line as prev. Who can write the
// file can still make the whole chain again: that is what checkpoints are for,
// which a key signs that the file's writer need not have.
//
// No record has a token, a signature or the value of a claim, unless the claim
// is to be shown: the others are there by a keyed hash, which says whether two
// tokens had the same value and no more. The key is made at the first Open and
// stays beside the log, in a file with .hmac-key at the end of its name.
package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/metrics"
)

// ErrUnavailable says that the log cannot record: its disk is full, its file is
// closed or not its own any more. All errors of Begin, End and Note are this
// one, but those of a call whose context has ended.
var ErrUnavailable = errors.New("audit log cannot record")

var errClosed = fmt.Errorf("%w: it is closed", ErrUnavailable)

// Mode says when a record counts as recorded.
type Mode string

// The modes. With each of them a record that was confirmed survives the end of
// the process, by SIGKILL too.
const (
	// SyncRecord has the disk confirm each record by itself before the next
	// is written.
	SyncRecord Mode = "record"
	// SyncBatch has the disk confirm all records that wait with one flush: no
	// confirmed record is lost when the machine stops. It is the mode of an
	// empty Mode.
	SyncBatch Mode = "batch"
	// SyncNone leaves it to the system when the disk gets a record: the last
	// seconds are lost when the machine stops.
	SyncNone Mode = "none"
)

// Config is what Open needs.
type Config struct {
	Path       string
	Sync       Mode
	MaxBytes   int64            // a file that would become larger is set aside and another begun; 0 is never
	Now        func() time.Time // nil is time.Now
	Random     io.Reader        // for the key of the hashes alone; nil is crypto/rand
	Log        *slog.Logger     // nil is none
	Metrics    *metrics.Audit   // nil counts nothing
	Checkpoint *Checkpoint      // nil is none
}

// Log is an open log. It is safe for concurrent use.
type Log struct {
	checkpoint *Checkpoint
	log        *slog.Logger
	writer     *writer
	entries    sync.Pool

	wake    chan struct{}   // has one where somebody waits, or the log is closed
	reopen  chan chan error // to the writer
	closing chan struct{}   // closed by Close
	stopped chan struct{}   // closed by the writer when it has answered all that waited

	mu      sync.Mutex
	waiting []*entry // for the writer, who answers each
	size    int      // of what waits, in bytes
	closed  bool

	closeOnce sync.Once
	closeErr  error
}

// The most that waits to be written. What comes then fails at once: the disk is
// far behind, and the callers have not the time.
const (
	maxWaiting      = 1 << 15 // records, and more than calls are under way as a rule
	maxWaitingBytes = 1 << 26
)

// Open opens the log at cfg.Path, or begins it, and goes on with its chain. It
// starts the goroutine that writes, which Close ends.
//
// It refuses a path that is not a plain file, a file that others can write, a
// log that another process has open, and one whose end is not as it was
// written. What a crash has left behind the last whole record is moved to a
// file beside it, and a record says so. Where the file is not there, the newest
// of the files that it was rotated to, by itself or by logrotate and not
// compressed, is the one to go on from.
func Open(cfg Config) (*Log, error) { return open(cfg, openFile) }

func open(cfg Config, opener func(path string, flag int) (file, error)) (*Log, error) {
	switch cfg.Sync {
	case SyncRecord, SyncBatch, SyncNone:
	case "":
		cfg.Sync = SyncBatch
	default:
		return nil, fmt.Errorf("audit: sync is record, batch or none, not %q", cfg.Sync)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil || cfg.Path == "" {
		return nil, errors.Join(errors.New("audit: no path"), err)
	}
	key, err := openKey(path+keySuffix, cfg.Random)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{
		checkpoint: cfg.Checkpoint,
		log:        cfg.Log,
		writer: &writer{
			path: path, mode: cfg.Sync, maxBytes: cfg.MaxBytes, now: cfg.Now, log: cfg.Log,
			open: opener, key: key, due: make(chan struct{}, 1), metrics: cfg.Metrics,
		},
		wake:    make(chan struct{}, 1),
		reopen:  make(chan chan error),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if cfg.Checkpoint != nil {
		l.writer.every = uint64(max(cfg.Checkpoint.EveryRecords, 0))
	}
	l.entries.New = func() any { return &entry{mac: key.newHash(), done: make(chan struct{}, 1)} }
	if err := l.writer.begin(); err != nil {
		key.file.Close()
		return nil, fmt.Errorf("audit %s: %w", path, err)
	}
	go l.write()
	return l, nil
}

// Begin records what is about to be signed. When it returns without an error
// the intent is recorded as Config.Sync says.
//
// When ctx ends first, its error is returned; the record may stand all the
// same.
func (l *Log) Begin(ctx context.Context, in Intent) (Pending, error) {
	p, err := l.Start(ctx, in)
	if err != nil {
		return Pending{}, err
	}
	if err := l.await(ctx, p.intent); err != nil {
		return Pending{}, err
	}
	p.seq = p.intent.seq
	return p, nil
}

// Start is Begin without the wait: the intent stands ahead of its result in the
// log, and End confirms both. It is for a signature that nobody can have until its
// result is recorded, as one that is made in this process.
func (l *Log) Start(ctx context.Context, in Intent) (Pending, error) {
	e := l.entry(typeIntent)
	e.intent(&in)
	if err := l.submit(ctx, e); err != nil {
		return Pending{}, err
	}
	return Pending{log: l, intent: e}, nil
}

// Pending is an intent that waits for its result, which End brings once.
type Pending struct {
	log    *Log
	intent *entry // which is another record's once End has returned
	seq    uint64
}

// Seq returns the number of the intent's record; it is 0 where Start has not waited
// for it.
func (p Pending) Seq() uint64 { return p.seq }

// End records what came of the intent. A token must not leave the service when
// it fails. A call that was cancelled needs its result too: give it a context
// that is not (context.WithoutCancel, and a timeout).
func (p Pending) End(ctx context.Context, result Result) error {
	if p.log == nil {
		return fmt.Errorf("%w: a result without an intent", ErrUnavailable)
	}
	e := p.log.entry(typeResult)
	e.of = p.intent
	e.result(&result)
	if err := p.log.submit(ctx, e); err != nil {
		return err
	}
	// The writer answers in order, so that the intent has its answer too.
	if err := p.log.await(ctx, e); err != nil {
		return err
	}
	if err := p.log.await(ctx, p.intent); err != nil {
		return err
	}
	p.log.free(e)
	p.log.free(p.intent)
	return nil
}

// Note records an intent and its result as one, for what has no signature in
// between: a token handed out again, or a refusal. Its errors are Begin's.
func (l *Log) Note(ctx context.Context, in Intent, result Result) error {
	e := l.entry(typeNote)
	e.intent(&in)
	e.result(&result)
	_, err := l.record(ctx, e)
	return err
}

// Act records a change that decides what is minted. Its errors are Begin's.
func (l *Log) Act(ctx context.Context, act Act) error {
	e := l.entry(typeAct)
	e.act(&act)
	_, err := l.record(ctx, e)
	return err
}

// Reopen looks whether the file has been moved away, as logrotate does before
// it sends SIGHUP, and if so begins another at the same path, with its first
// record chained to the last of the one moved. Without it the log finds out
// within a second, at the next record. No record is lost.
func (l *Log) Reopen() error {
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
		return <-answer
	case <-l.stopped:
		return errClosed
	}
}

// Close ends the log when all that wait have been answered. Calls from then on
// fail with ErrUnavailable. Run must have returned, or its checkpoints fail
// too.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.closing)
		signal(l.wake)
		<-l.stopped
		l.closeErr = l.writer.close()
	})
	return l.closeErr
}

// entry is one record on its way: encoded by the caller's goroutine from its
// type on, numbered and chained by the writer.
type entry struct {
	body    []byte
	scratch []byte
	mac     hash.Hash
	done    chan struct{} // has the answer, which is err

	answered bool   // the answer has been taken
	of       *entry // the intent that this is the result of
	seq      uint64 // the writer's
	err      error
}

func (e *entry) answer(err error) {
	e.err = err
	e.done <- struct{}{}
}

func (e *entry) failed() error {
	if e.err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, e.err)
}

// entry returns an empty record of a type.
func (l *Log) entry(kind string) *entry {
	e := l.entries.Get().(*entry)
	e.answered, e.of, e.seq, e.err = false, nil, 0, nil
	e.body = e.body[:0]
	if kind != typeResult { // which the writer begins, with the intent's number
		e.body = append(append(append(e.body, `"type":"`...), kind...), '"')
	}
	return e
}

// keep is the largest buffer that is kept for another record, in bytes.
const keep = 16 << 10

func (l *Log) free(e *entry) {
	if cap(e.body) <= keep && cap(e.scratch) <= keep {
		l.entries.Put(e)
	}
}

// record hands a record to the writer, waits for its answer and returns its number.
func (l *Log) record(ctx context.Context, e *entry) (uint64, error) {
	if err := l.submit(ctx, e); err != nil {
		return 0, err
	}
	if err := l.await(ctx, e); err != nil {
		return 0, err
	}
	seq := e.seq
	l.free(e)
	return seq, nil
}

// submit hands a record to the writer.
func (l *Log) submit(ctx context.Context, e *entry) error {
	if err := ctx.Err(); err != nil {
		return gone(ctx)
	}
	e.body = append(e.body, '}', '\n')
	if len(e.body) > maxLine-maxPrefix {
		return fmt.Errorf("%w: a record of %d bytes is too long", ErrUnavailable, len(e.body))
	}
	return l.enqueue(e)
}

// await waits for the writer's answer. An entry that is left behind when ctx ends
// is the writer's, and not used again.
func (l *Log) await(ctx context.Context, e *entry) error {
	if e.answered {
		return e.failed()
	}
	if done := ctx.Done(); done == nil {
		<-e.done
	} else {
		select {
		case <-e.done:
		case <-done:
			return gone(ctx)
		}
	}
	e.answered = true
	return e.failed()
}

// enqueue gives a record to the writer.
func (l *Log) enqueue(e *entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errClosed
	case len(l.waiting) >= maxWaiting || l.size >= maxWaitingBytes:
		l.writer.metrics.Failed(1)
		return fmt.Errorf("%w: too many records wait for the disk", ErrUnavailable)
	}
	l.waiting, l.size = append(l.waiting, e), l.size+len(e.body)
	if len(l.waiting) == 1 {
		signal(l.wake)
	}
	return nil
}

// take returns all that wait, in exchange for an empty slice, and whether more
// can come.
func (l *Log) take(empty []*entry) ([]*entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.waiting
	l.waiting, l.size = empty, 0
	return batch, !l.closed
}

// signal puts one into a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func gone(ctx context.Context) error {
	return fmt.Errorf("the call ended before the audit log confirmed its record: %w", ctx.Err())
}

// closeFile is for a file that nothing more is expected of.
func closeFile(f io.Closer) {
	if f != nil {
		_ = f.Close() // whatever it says, it is gone
	}
}

var _ file = (*os.File)(nil)
