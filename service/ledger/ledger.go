// Package ledger remembers until when the longest-lived token of a profile is
// valid. Secrets that live for months are renewed by people, and people forget.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/statefile"
)

// maxFile is the largest file that Open reads, in bytes: far more than the
// profiles that a configuration can have.
const maxFile = 1 << 20

// grain is how far apart the expiries on the disk are: each is rounded up to
// it, so that a profile that mints often writes seldom.
const grain = time.Minute

// Ledger is safe for concurrent use.
type Ledger struct {
	path string // empty where nothing is kept over a restart
	log  *slog.Logger

	mu      sync.Mutex
	newest  map[string]time.Time // by the name of the profile
	asked   map[string]time.Time // what the disk has, or was to have; never before newest for long
	writing bool                 // one caller writes, and looks again before it ends

	aliveMu sync.Mutex
	alive   map[series]*tally
}

// file is what stands in the file.
type file struct {
	NewestExpiry map[string]time.Time `json:"newest_expiry"`
}

// Open reads what an earlier run has left at path, which need not be there. An
// empty path keeps the ledger in memory. A file that cannot be one of a ledger
// is refused; it is the operator who may lose what it says.
func Open(path string, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{path: path, log: log, newest: map[string]time.Time{}, asked: map[string]time.Time{}, alive: map[series]*tally{}}
	if path == "" {
		return l, nil
	}
	f, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w; mend it, or move it away, and the expiries of tokens minted before are forgotten", path, err)
	}
	maps.Copy(l.newest, f.NewestExpiry)
	maps.Copy(l.asked, f.NewestExpiry)
	return l, nil
}

func read(path string) (f file, err error) {
	data, err := statefile.Read(path, maxFile)
	if err != nil {
		return file{}, err
	}
	err = json.Unmarshal(data, &f)
	return f, err
}

// Note remembers a token's expiry. A token that ends before the newest changes
// nothing. A file that cannot be written is logged and tried again when a
// profile's newest expiry is a minute later: no token is worth less for it.
//
// Of several callers one writes, and the others do not wait for the disk.
func (l *Ledger) Note(ctx context.Context, profile string, expiry time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !expiry.After(l.newest[profile]) {
		return
	}
	l.newest[profile] = expiry.UTC()
	if l.path == "" || l.writing {
		return
	}
	l.writing = true
	defer func() { l.writing = false }()
	for l.behind() {
		for name, t := range l.newest {
			if t.After(l.asked[name]) {
				l.asked[name] = t.Add(grain - 1).Truncate(grain)
			}
		}
		if err := l.write(maps.Clone(l.asked)); err != nil {
			l.log.ErrorContext(ctx, "ledger not written", "error", err)
		}
	}
}

// behind says whether the disk was never to have what is known. The caller
// holds mu.
func (l *Ledger) behind() bool {
	for name, t := range l.newest {
		if t.After(l.asked[name]) {
			return true
		}
	}
	return false
}

// Newest returns the latest expiry of a profile's tokens that is known.
func (l *Ledger) Newest(profile string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.newest[profile]
	return t, ok
}

// write replaces the file whole. The caller holds mu and alone is writing; mu
// is free while the disk is at work.
func (l *Ledger) write(expiries map[string]time.Time) error {
	l.mu.Unlock()
	defer l.mu.Lock()
	data, err := json.Marshal(file{expiries})
	if err != nil {
		return err
	}
	return statefile.Replace(l.path, append(data, '\n'))
}
