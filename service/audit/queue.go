package audit

import (
	"context"
	"fmt"
	"hash"
	"time"
)

// The most that waits to be written. What comes then fails at once: the disk is
// far behind, and the callers have not the time.
const (
	maxWaiting      = 1 << 15 // records, and more than calls are under way as a rule
	maxWaitingBytes = 1 << 26
)

// lag is how long a record that Again has written may be without a flush.
const lag = 100 * time.Millisecond

// queue is what waits to be written.
type queue struct {
	firm  []*entry // confirmed as the log's mode says
	again []*entry // confirmed when they are written
	size  int      // of them all, in bytes
}

// entry is one record on its way: encoded by the caller's goroutine from its
// type on, numbered and chained by whoever writes it.
type entry struct {
	body    []byte
	scratch []byte
	mac     hash.Hash
	again   bool          // confirmed when it is written, before a flush
	done    chan struct{} // has the answer, which is seq and err
	seq     uint64
	err     error
}

func (e *entry) answer(err error) {
	e.err = err
	e.done <- struct{}{}
}

// entry returns an empty record of a type.
func (l *Log) entry(kind string) *entry {
	e := l.entries.Get().(*entry)
	e.again, e.seq, e.err = false, 0, nil
	e.body = append(append(append(e.body[:0], `"type":"`...), kind...), '"')
	return e
}

// note returns the record of an intent and its result.
func (l *Log) note(in *Intent, result *Result) *entry {
	e := l.entry(typeNote)
	e.intent(in)
	e.result(result)
	return e
}

// keep is the largest buffer that is kept for another record, in bytes.
const keep = 16 << 10

func (l *Log) free(e *entry) {
	if cap(e.body) <= keep && cap(e.scratch) <= keep {
		l.entries.Put(e)
	}
}

// record has a record written, waits for it and returns its number.
func (l *Log) record(ctx context.Context, e *entry) (uint64, error) {
	if ctx.Err() != nil {
		return 0, gone(ctx)
	}
	if err := l.submit(e); err != nil {
		return 0, err
	}
	return l.await(ctx, e)
}

// submit hands a record over to be written. One that no flush is for is written at
// once, by the caller himself where nobody else writes: that is less work than to
// have it done.
func (l *Log) submit(e *entry) error {
	e.body = append(e.body, '}', '\n')
	if len(e.body) > maxLine-maxPrefix {
		return fmt.Errorf("%w: a record of %d bytes is too long", ErrUnavailable, len(e.body))
	}
	if err := l.enqueue(e); err != nil {
		return err
	}
	if e.again && l.own.TryLock() {
		l.writeAgain()
		l.own.Unlock()
	}
	return nil
}

// enqueue gives a record to whoever writes.
func (l *Log) enqueue(e *entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := len(l.queue.firm) + len(l.queue.again)
	switch {
	case l.closed:
		return errClosed
	case waiting >= maxWaiting || l.queue.size >= maxWaitingBytes:
		l.writer.metrics.Failed(1)
		return fmt.Errorf("%w: too many records wait for the disk", ErrUnavailable)
	}
	l.queue.size += len(e.body)
	if e.again {
		l.queue.again = append(l.queue.again, e)
	} else {
		l.queue.firm = append(l.queue.firm, e)
	}
	return nil
}

// call has the writer see to a record that a call waits for from now on.
func (l *Log) call(e *entry) {
	if !e.again {
		l.mu.Lock()
		l.waiters++
		waiters, enough := l.waiters, l.enough
		l.mu.Unlock()
		if waiters != 1 && waiters != enough { // it has been called, or is not to come yet
			return
		}
	}
	signal(l.wake)
}

// await waits for the answer to a record that was handed over, and has the writer called
// for it. An entry that is left behind when ctx ends is the writer's, and not used again.
func (l *Log) await(ctx context.Context, e *entry) (uint64, error) {
	select {
	case <-e.done:
	default:
		l.call(e)
		select {
		case <-e.done:
		case <-ctx.Done():
			return 0, gone(ctx)
		}
	}
	seq, err := e.seq, e.err
	l.free(e)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return seq, nil
}

// take returns the records of a part of the queue, in exchange for an empty slice.
func (q *queue) take(part *[]*entry, empty []*entry) (batch []*entry) {
	batch, *part = *part, empty
	for _, e := range batch {
		q.size -= len(e.body)
	}
	return batch
}

// signal puts one into a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
