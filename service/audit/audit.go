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
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	// Company says how many calls are under way that may bring a record, so that one
	// flush is for many where there are many; nil waits for nobody.
	Company func() int
}

// Log is an open log. It is safe for concurrent use.
type Log struct {
	checkpoint *Checkpoint
	log        *slog.Logger
	company    func() int
	entries    sync.Pool

	own    sync.Mutex // whoever writes holds it, whoever waits to does not
	writer *writer

	wake     chan struct{}   // has one where there is something for the writer to do
	reopen   chan chan error // to the writer
	stopped  chan struct{}   // closed by the writer when it has answered all that waited
	settling *time.Timer     // until records that no flush has confirmed get theirs
	overdue  atomic.Bool     // it has run out

	mu      sync.Mutex
	queue   queue
	waiters int // calls that wait for a flush
	enough  int // as many do not wait for others to join
	closed  bool

	closeOnce sync.Once
	closeErr  error
}

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
		company:    cfg.Company,
		writer: &writer{
			path: path, mode: cfg.Sync, maxBytes: cfg.MaxBytes, now: cfg.Now, log: cfg.Log,
			open: opener, key: key, due: make(chan struct{}, 1), metrics: cfg.Metrics,
		},
		wake:    make(chan struct{}, 1),
		reopen:  make(chan chan error),
		stopped: make(chan struct{}),
	}
	l.settling = time.AfterFunc(lag, func() {
		l.overdue.Store(true)
		signal(l.wake)
	})
	l.settling.Stop()
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
	e := l.entry(typeIntent)
	e.intent(&in)
	seq, err := l.record(ctx, e)
	if err != nil {
		return Pending{}, err
	}
	return Pending{l, seq}, nil
}

// Pending is an intent that is recorded and waits for its result, which End
// brings once.
type Pending struct {
	log *Log
	seq uint64
}

// Seq returns the number of the intent's record.
func (p Pending) Seq() uint64 { return p.seq }

// End records what came of the intent. A token must not leave the service when
// it fails. A call that was cancelled needs its result too: give it a context
// that is not (context.WithoutCancel, and a timeout).
func (p Pending) End(ctx context.Context, result Result) error {
	if p.log == nil {
		return fmt.Errorf("%w: a result without an intent", ErrUnavailable)
	}
	e := p.log.entry(typeResult)
	e.number("intent", p.seq)
	e.result(&result)
	_, err := p.log.record(ctx, e)
	return err
}

// Note records an intent and its result as one, for what nobody can have before it
// is recorded: a signature made in this process, a token handed out again, a refusal.
// Its errors are Begin's.
func (l *Log) Note(ctx context.Context, in Intent, result Result) error {
	r, err := l.Put(in, result)
	if err != nil {
		return err
	}
	return r.Wait(ctx)
}

// Put is Note without the wait, which is the receipt's: until it is waited for, the
// record may be written with others or not.
func (l *Log) Put(in Intent, result Result) (Receipt, error) {
	e := l.note(&in, &result)
	if err := l.submit(e); err != nil {
		return Receipt{}, err
	}
	return Receipt{l, e}, nil
}

// Receipt is a record that is on its way. What it is about must not leave the
// service before Wait has returned without an error. The zero Receipt is no record's.
type Receipt struct {
	log   *Log
	entry *entry
}

// Wait returns when the record is recorded as Config.Sync says, or ctx ends. It is
// called once.
func (r Receipt) Wait(ctx context.Context) error {
	if r.log == nil {
		return fmt.Errorf("%w: no record", ErrUnavailable)
	}
	_, err := r.log.await(ctx, r.entry)
	return err
}

// Again is Note for what has a record already that the disk has confirmed, and whose
// repetition is no news that a machine's sudden end must not take: with SyncBatch the
// record survives the end of the process when Again returns, and that of the machine
// when the next flush has come, within lag.
func (l *Log) Again(ctx context.Context, in Intent, result Result) error {
	e := l.note(&in, &result)
	e.again = l.writer.mode == SyncBatch
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
		signal(l.wake)
		<-l.stopped
		l.settling.Stop()
		l.own.Lock()
		defer l.own.Unlock()
		l.closeErr = l.writer.close()
	})
	return l.closeErr
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
