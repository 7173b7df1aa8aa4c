// Package ledger remembers which tokens can still be valid: for each profile and
// kid how many, and until when. It is the evidence by which a key's public half
// is taken away from verifiers, what an operator is told who stops a key, and
// what reminds people of secrets that live for months.
package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/statefile"
)

const (
	// maxFile is the largest file that Open reads, in bytes.
	maxFile = 32 << 20
	// maxSeries is the most pairs of profile and kid that are remembered; those
	// whose tokens ended first are forgotten first.
	maxSeries = 4096
	// grain is how far apart the ends on the disk are. Each is rounded up to it
	// and put one further, so that a profile that mints all the time is written
	// about once in a grain, and the disk is ahead of what is handed out.
	grain = time.Minute
	// ahead is how long before the disk's end is reached a later one is written.
	ahead = grain / 2
)

// Ledger is safe for concurrent use.
type Ledger struct {
	path   string // empty where nothing is kept over a restart
	random io.Reader
	log    *slog.Logger

	mu     sync.Mutex
	id     string
	series map[series]*tally
	flight chan struct{} // closed when the write that is under way has ended; nil where there is none
	closed bool
	dirty  bool           // something is known that the disk was not told
	disown func()         // lets another process write the file; nil before Own
	writes sync.WaitGroup // Add only under mu while not closed
}

// Open reads what an earlier run has left at path, which need not be there. An
// empty path keeps the ledger in memory. A file that cannot be one of a ledger
// is refused; it is the operator who may lose what it says. random names it.
func Open(path string, random io.Reader, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{path: path, random: random, log: log, series: map[series]*tally{}}
	err := l.rename()
	if err != nil || path == "" {
		return l, err
	}
	err = l.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ledger %s: %w; mend it, or move it away, and the tokens minted before are forgotten", path, err)
	}
	return l, nil
}

// Own has no other process write the file, until Close. It fails where one does.
func (l *Ledger) Own(ctx context.Context) error {
	if l.path == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unlock, err := statefile.Lock(ctx, l.path+".lock")
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ledger %s: another process writes it; each server needs one of its own", l.path)
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disown = unlock
	return nil
}

// Issued notes that a token of a profile was signed now, by the key of this kid,
// and can be valid until end. It returns when the disk knows that there can be
// tokens until then, or with ctx's error: then the token must not be handed out.
// A disk that cannot be written is logged and tried again later, and holds
// nothing up. A token without an end is not noted.
func (l *Ledger) Issued(ctx context.Context, profile, kid string, now, end time.Time) error {
	if end.IsZero() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally(series{profile, kid}, now)
	t.add(now, end)
	l.dirty = true
	if l.path == "" || end.Before(t.promised.Add(-ahead)) {
		return nil
	}
	for {
		if l.flight == nil && !l.begin(ctx) {
			return nil // the server stops, and Close has written or will
		}
		if !end.After(t.promised) {
			return nil
		}
		if err := l.wait(ctx, l.flight); err != nil {
			return err
		}
	}
}

// wait lets go of mu until a write has ended.
func (l *Ledger) wait(ctx context.Context, flight <-chan struct{}) error {
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tally returns the count of a series. The caller holds mu.
func (l *Ledger) tally(by series, now time.Time) *tally {
	t, ok := l.series[by]
	if !ok {
		if len(l.series) >= maxSeries {
			l.forget()
		}
		t = &tally{slots: map[int64]int64{}, pruned: now}
		l.series[by] = t
	}
	return t
}

// forget drops the series whose last token ended first. The caller holds mu.
func (l *Ledger) forget() {
	var first series
	var end time.Time
	for by, t := range l.series {
		if end.IsZero() || t.newest.Before(end) {
			first, end = by, t.newest
		}
	}
	delete(l.series, first)
}

// Newest returns the latest end of a profile's tokens that is known.
func (l *Ledger) Newest(profile string) (time.Time, bool) {
	return l.latest(func(by series) bool { return by.profile == profile })
}

// End returns the latest end of the tokens that are known to bear this kid.
func (l *Ledger) End(kid string) (time.Time, bool) {
	return l.latest(func(by series) bool { return by.kid == kid })
}

func (l *Ledger) latest(of func(series) bool) (end time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for by, t := range l.series {
		if of(by) && t.newest.After(end) {
			end, ok = t.newest, true
		}
	}
	return end, ok
}

// ID names what the ledger remembers. It is another where something may have
// been forgotten: without a file after each restart, and after each time that
// the disk could not be written.
func (l *Ledger) ID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// rename gives the ledger another ID. The caller holds mu, or is alone.
func (l *Ledger) rename() error {
	id := make([]byte, 8)
	if _, err := io.ReadFull(l.random, id); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	l.id = hex.EncodeToString(id)
	return nil
}

// Close writes what is known, and returns when no write is under way. Nothing
// is written after it.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed || l.path == "" {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.writes.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disown != nil {
		defer l.disown()
	}
	if !l.dirty {
		return nil
	}
	data, err := l.marshal()
	if err == nil {
		err = statefile.Replace(l.path, data)
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// begin starts a write of all that is known, and says whether it could. The
// caller holds mu.
func (l *Ledger) begin(ctx context.Context) bool {
	if l.closed {
		return false
	}
	for _, t := range l.series {
		t.promising = t.newest.Add(grain - 1).Truncate(grain).Add(grain)
	}
	data, err := l.marshal()
	done := make(chan struct{})
	l.flight = done
	l.writes.Go(func() {
		if err == nil {
			err = statefile.Replace(l.path, data)
		}
		if err != nil {
			l.log.ErrorContext(ctx, "ledger not written", "error", err)
		}
		l.land(done, err == nil)
	})
	return true
}

// land ends a write. One that failed counts as written until a later end has to
// be: no token is worth less for it.
func (l *Ledger) land(done chan struct{}, written bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !written {
		_ = l.rename() // without randomness nothing is signed either
	}
	for _, t := range l.series {
		if t.promising.After(t.promised) {
			t.promised = t.promising
		}
	}
	l.flight = nil
	close(done)
}

// file is what stands in the file.
type file struct {
	ID     string  `json:"id"`
	Series []entry `json:"series"`
}

// entry is one series in the file.
type entry struct {
	Profile string          `json:"profile"`
	KID     string          `json:"kid"`
	Newest  time.Time       `json:"newest_end"`   // not before the last token's end
	Ends    map[int64]int64 `json:"ends_by_time"` // as in tally
}

// marshal writes what is known. The caller holds mu.
func (l *Ledger) marshal() ([]byte, error) {
	f := file{ID: l.id, Series: make([]entry, 0, len(l.series))}
	for by, t := range l.series {
		e := entry{by.profile, by.kid, t.newest, t.slots}
		if t.promising.After(e.Newest) {
			e.Newest = t.promising
		}
		e.Newest = e.Newest.UTC()
		f.Series = append(f.Series, e)
	}
	data, err := json.Marshal(f)
	return append(data, '\n'), err
}

// read takes up what the file says.
func (l *Ledger) read() error {
	data, err := statefile.Read(l.path, maxFile)
	if err != nil {
		return err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.ID == "" || len(f.Series) > maxSeries {
		return errors.New("not what a ledger writes")
	}
	l.id = f.ID
	for _, e := range f.Series {
		t := &tally{slots: e.Ends, newest: e.Newest, promised: e.Newest}
		if e.Profile == "" || e.Newest.IsZero() || !t.valid() {
			return errors.New("not what a ledger writes")
		}
		l.series[series{e.Profile, e.KID}] = t
	}
	return nil
}
