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
	var batch []*entry
	patience := time.NewTimer(moment)
	patience.Stop()
	for open, gathering := true, false; open; {
		select {
		case <-l.wake:
		case <-patience.C:
			gathering = false
			batch, open = l.flush(batch)
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
			batch, open = l.flush(batch)
		case !gathering:
			gathering = true
			patience.Reset(more)
		}
	}
}

// wait says how long calls are to wait for others, for whom one flush is made; 0 is
// not at all. A flush costs the processor as much as a signature, however much it
// confirms: where many calls are under way, half of them are waited for, but for a
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
		l.enough = company / 2
	}
	if l.closed || l.waiters >= l.enough {
		return 0
	}
	return moment
}

// flush writes all that wait, has the disk confirm them as the mode says, and answers
// them. It takes an empty slice and gives one back.
func (l *Log) flush(empty []*entry) (batch []*entry, open bool) {
	l.own.Lock()
	defer l.own.Unlock()
	batch, open = l.take(empty)
	l.writer.commit(batch, l.writer.mode != SyncNone)
	clear(batch)
	return batch[:0], open
}

// writeAgain writes the records that no flush is for. The caller holds own.
func (l *Log) writeAgain() {
	w := l.writer
	batch := l.takeAgain(w.spare)
	if len(batch) > 0 {
		w.commit(batch, false)
		if !w.dirty {
			w.dirty = true
			l.unsafe.Reset(lag)
		}
	}
	clear(batch)
	w.spare = batch[:0]
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
