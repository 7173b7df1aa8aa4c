package audit

import (
	"runtime"
	"time"
)

const (
	// many calls under way say that more records come in a moment.
	many   = 24
	moment = 2 * time.Millisecond
)

// write is the writer's goroutine.
func (l *Log) write() {
	defer close(l.stopped)
	patience := time.NewTimer(moment)
	patience.Stop()
	for gathering := false; ; {
		select {
		case <-l.wake:
		case <-patience.C:
			gathering = false
			l.flush()
			continue
		case answer := <-l.reopen:
			l.own.Lock()
			answer <- l.writer.reopen()
			l.own.Unlock()
			continue
		}
		l.writeLate()
		switch more := l.wait(gathering); {
		case more == 0:
			gathering = false
			patience.Stop()
			l.flush()
		case !gathering:
			gathering = true
			patience.Reset(more)
		}
		if l.done() {
			return
		}
	}
}

// done says whether nothing waits and nothing can come.
func (l *Log) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed && len(l.queue.firm)+len(l.queue.again) == 0
}

// wait says how long calls are to wait for others, for whom one flush is made; 0 is
// not at all. A flush costs the processor as much as a signature, however much it
// confirms: where many calls are under way, most of them are waited for, but for a
// moment at most, which is little beside what such a crowd waits for its signatures.
func (l *Log) wait(gathering bool) time.Duration {
	company := 0
	if l.writer.mode == SyncBatch && l.company != nil {
		company = l.company()
	}
	if company < many {
		runtime.Gosched() // callers that can run join
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !gathering {
		l.enough = company * 3 / 4
	}
	if l.closed || l.waiters >= l.enough {
		return 0
	}
	return moment
}

// flush writes all that wait, has the disk confirm them as the mode says, and answers
// them.
func (l *Log) flush() {
	l.own.Lock()
	defer l.own.Unlock()
	w := l.writer
	l.mu.Lock()
	batch := l.queue.take(&l.queue.firm, w.spare)
	l.waiters, l.enough = 0, 0
	l.mu.Unlock()
	w.commit(batch, w.mode != SyncNone)
	clear(batch)
	w.spare = batch[:0]
}

// writeAgain writes the records that no flush is for. The caller holds own.
func (l *Log) writeAgain() {
	w := l.writer
	l.mu.Lock()
	batch := l.queue.take(&l.queue.again, w.spareAgain)
	l.mu.Unlock()
	before := w.dirty
	w.commit(batch, false)
	if w.dirty && !before {
		l.settling.Reset(lag)
	}
	clear(batch)
	w.spareAgain = batch[:0]
}

// writeLate writes such records for those who found somebody else writing, and has
// the disk confirm what was written long enough ago.
func (l *Log) writeLate() {
	l.own.Lock()
	defer l.own.Unlock()
	l.writeAgain()
	if l.overdue.Swap(false) {
		l.writer.settle()
	}
}
