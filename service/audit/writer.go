package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/metrics"
)

const (
	// maxWrite is about how many bytes are written at once.
	maxWrite = 1 << 20
	// lookEvery is how often the writer looks whether the path still names the
	// file that it writes.
	lookEvery = time.Second
	// The pause after a failure: records fail without an attempt for as long.
	minPause = time.Millisecond
	maxPause = time.Second
	// reportEvery is how often a failure that goes on is logged.
	reportEvery = 10 * time.Second
)

// writer owns the file. All but head is for whoever holds Log.own, and for Open,
// which is before them.
type writer struct {
	path     string
	mode     Mode
	maxBytes int64
	limit    int64  // maxBytes, or more where the file could not be rotated
	every    uint64 // records between two checkpoints; 0 is no limit
	now      func() time.Time
	log      *slog.Logger
	open     func(path string, flag int) (file, error)
	key      *hashKey
	metrics  *metrics.Audit

	f      file        // nil while there is none to be written
	info   fs.FileInfo // of f, or of the one before it
	at     position    // of the last record that was confirmed
	from   string      // the file that an empty f goes on from
	moved  bool        // the file at info has been moved away
	buf    []byte      // what is written next
	next   position    // with what is in buf
	stamp  []byte      // the time of the records in buf
	looked time.Time
	failed failure
	dirty  bool // records have been written that no flush has confirmed

	spare, spareAgain []*entry // empty, for what waits next

	due  chan struct{} // has one where a checkpoint is due
	mu   sync.Mutex
	head head
}

// head is what a checkpoint needs to know.
type head struct {
	seq  uint64 // of the last confirmed record
	hash Hash
	// The last record that a checkpoint was asked for at.
	checkpoint uint64
}

// failure is the state of a log that could not write.
type failure struct {
	err      error
	until    time.Time
	pause    time.Duration
	reported time.Time
}

// begin opens the file and writes down that it did.
func (w *writer) begin() error {
	f, info, err := w.openOwn(os.O_CREATE)
	if err != nil {
		return err
	}
	w.f, w.info, w.limit, w.looked = f, info, w.maxBytes, time.Now()
	if err := w.beginWith(f, info); err != nil {
		closeFile(f)
		w.f = nil
		return err
	}
	return nil
}

func (w *writer) beginWith(f file, info fs.FileInfo) error {
	at, err := readEnd(f, info.Size())
	if err != nil {
		return err
	}
	kept, err := w.cut(f, at, info.Size())
	if err != nil {
		return err
	}
	w.at = at
	if at.seq == 0 {
		w.at = position{}
		before, err := predecessor(w.path)
		if err != nil {
			return fmt.Errorf("the file to go on from: %w", err)
		}
		if before != nil {
			w.at.seq, w.at.hash, w.from = before.seq, before.hash, before.name
		} else if !w.key.fresh {
			w.log.Warn("audit log begins anew, and the key beside it is older", slog.String("path", w.path))
		}
	}
	w.reset()
	w.compose(w.opened(typeOpened))
	if kept != nil {
		w.compose(kept.body)
	}
	if err := w.flush(true); err != nil {
		return err
	}
	return syncDir(w.path)
}

// openOwn opens the file at the log's path and makes sure that it is nobody
// else's.
func (w *writer) openOwn(flag int) (file, fs.FileInfo, error) {
	f, err := w.open(w.path, flag)
	if err != nil {
		return nil, nil, plain(err)
	}
	info, err := checkOwn(w.path, f)
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		closeFile(f)
		return nil, nil, err
	}
	return f, info, nil
}

// opened is the body of a record that a file may begin with.
func (w *writer) opened(kind string) []byte {
	e := entry{body: append(append([]byte(`"type":"`), kind...), '"')}
	e.number("format", 1)
	if w.at.good == 0 {
		e.text("from", w.from)
	}
	e.text("sync", string(w.mode))
	e.text("hmac_key_id", w.key.id())
	return append(e.body, '}', '\n')
}

// commit writes a batch, has the disk confirm it or not, and answers everyone in it.
func (w *writer) commit(batch []*entry, sync bool) {
	for len(batch) > 0 {
		n, err := w.step(batch, sync)
		if err != nil {
			w.metrics.Failed(len(batch))
			for _, e := range batch {
				e.answer(err)
			}
			return
		}
		for _, e := range batch[:n] {
			e.answer(nil)
		}
		batch = batch[n:]
	}
}

// step writes as much of a batch as one write takes.
func (w *writer) step(batch []*entry, sync bool) (int, error) {
	now := time.Now()
	if now.Before(w.failed.until) {
		return 0, w.failed.err
	}
	if err := w.prepare(now, len(batch[0].body)); err != nil {
		return 0, w.fail(now, err)
	}
	w.reset()
	if w.at.good == 0 {
		w.compose(w.opened(typeRotated))
	}
	n := 0
	for n < len(batch) {
		e := batch[n]
		if n > 0 && (w.mode == SyncRecord || len(w.buf)+len(e.body) > maxWrite || w.full(w.next.good, len(e.body))) {
			break
		}
		w.compose(e.body)
		e.seq = w.next.seq
		n++
	}
	began := time.Now()
	if err := w.flush(sync); err != nil {
		return 0, w.fail(now, err)
	}
	w.metrics.Recorded(n)
	if sync || w.mode == SyncNone {
		w.metrics.Flushed(time.Since(began))
	}
	w.heal()
	return n, nil
}

// prepare makes sure that there is a file with room for a record.
func (w *writer) prepare(now time.Time, size int) error {
	if w.f != nil && now.Sub(w.looked) >= lookEvery {
		w.looked = now
		w.look()
	}
	switch {
	case w.f == nil:
		return w.attach()
	case w.at.good > 0 && w.full(w.at.good, size):
		return w.rotate()
	}
	return nil
}

// full says whether a file of good bytes would become too large with a record
// more.
func (w *writer) full(good int64, size int) bool {
	return w.limit > 0 && good+int64(size+maxPrefix) > w.limit
}

// reset begins what is written next, at the time that it is.
func (w *writer) reset() {
	w.buf, w.next = w.buf[:0], w.at
	w.stamp = w.now().UTC().AppendFormat(w.stamp[:0], time.RFC3339Nano)
	if cap(w.buf) > 2*maxWrite {
		w.buf = nil
	}
}

// compose numbers and chains a record.
func (w *writer) compose(body []byte) {
	start := len(w.buf)
	w.buf = append(w.buf, linePrefix...)
	w.buf = strconv.AppendUint(w.buf, w.next.seq+1, 10)
	w.buf = append(w.buf, `,"prev":"`...)
	w.buf = hex.AppendEncode(w.buf, w.next.hash[:])
	w.buf = append(w.buf, `","time":"`...)
	w.buf = append(w.buf, w.stamp...)
	w.buf = append(w.buf, '"', ',')
	w.buf = append(w.buf, body...)
	line := w.buf[start:]
	w.next.seq++
	w.next.hash = sha256.Sum256(line)
	w.next.last = int64(len(line))
	w.next.good += w.next.last
	if w.next.first == 0 {
		w.next.first = w.next.seq
	}
}

// flush writes what was composed. When it fails the file ends where it did
// before, or is closed and looked at before the next write.
func (w *writer) flush(sync bool) error {
	n, err := w.f.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = fmt.Errorf("only %d of %d bytes were written", n, len(w.buf))
	}
	if err != nil {
		if w.f.Truncate(w.at.good) != nil {
			w.abandon()
		}
		return plain(err)
	}
	if sync {
		if err := w.f.Sync(); err != nil {
			// The system may call pages clean now that the disk never got.
			// What was confirmed before is safe; of the rest nothing is known.
			w.abandon()
			return plain(err)
		}
	}
	w.dirty = !sync
	w.at = w.next
	w.publish()
	return nil
}

// settle has the disk confirm what was written without a flush.
func (w *writer) settle() {
	if !w.dirty || w.f == nil {
		return
	}
	if err := w.f.Sync(); err != nil {
		w.abandon()
		_ = w.fail(time.Now(), plain(err)) // who it was for has been answered
	}
	w.dirty = false
}

// abandon closes the file; attach takes it up again, and has the disk confirm what it
// holds.
func (w *writer) abandon() {
	w.dirty = false
	closeFile(w.f)
	w.f = nil
}

func (w *writer) publish() {
	w.mu.Lock()
	w.head.seq, w.head.hash = w.at.seq, w.at.hash
	due := w.every > 0 && w.head.seq-w.head.checkpoint >= w.every
	w.mu.Unlock()
	if due {
		signal(w.due)
	}
}

// fail notes that records cannot be written, and returns why.
func (w *writer) fail(now time.Time, err error) error {
	first := w.failed.err == nil
	w.failed.err = err
	w.failed.pause = min(max(2*w.failed.pause, minPause), maxPause)
	w.failed.until = now.Add(w.failed.pause)
	if first || now.Sub(w.failed.reported) >= reportEvery {
		w.failed.reported = now
		w.log.Error("audit log cannot record; no token is minted until it can",
			slog.String("path", w.path), slog.Any("error", err))
	}
	return err
}

func (w *writer) heal() {
	if w.failed.err == nil {
		return
	}
	w.failed = failure{}
	w.log.Info("audit log records again", slog.String("path", w.path))
}

// close confirms what there is and gives the locks back.
func (w *writer) close() error {
	var err error
	if w.f != nil {
		err = errors.Join(w.f.Sync(), w.f.Close())
		w.f = nil
	}
	return errors.Join(err, w.key.file.Close())
}

// snapshot returns the last confirmed record, and whether anything has come
// since the last checkpoint.
func (w *writer) snapshot() (head, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head, w.head.seq > w.head.checkpoint
}

// checked notes that a checkpoint vouches for the records through one. Where
// its own record comes next after that, it has nothing new to vouch for.
func (w *writer) checked(through, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head.checkpoint = through
	if seq == through+1 {
		w.head.checkpoint = seq
	}
}
