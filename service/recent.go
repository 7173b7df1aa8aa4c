package service

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxRecent is how many kinds of failure are remembered.
	maxRecent = 32
	// maxErrorText is the longest text of one, in bytes.
	maxErrorText = 512
)

// recent remembers the newest failure of each kind. What it remembers is in the
// log too.
type recent struct {
	mu    sync.Mutex
	kinds map[recentKind]*recentError
}

// recentKind is what makes two failures the same.
type recentKind struct{ method, reason string }

// recentError is the newest of its kind.
type recentError struct {
	recentKind
	caller, profile, text string
	time                  time.Time
	count                 int64
}

func newRecent() *recent { return &recent{kinds: map[recentKind]*recentError{}} }

// add remembers a failure, and forgets the kind that has not occurred for
// longest where there are too many.
func (r *recent) add(e recentError) {
	e.text = bounded(e.text, maxErrorText)
	r.mu.Lock()
	defer r.mu.Unlock()
	before, ok := r.kinds[e.recentKind]
	if ok {
		e.count += before.count
	} else if len(r.kinds) >= maxRecent {
		oldest := recentKind{}
		for kind, known := range r.kinds {
			if oldest == (recentKind{}) || known.time.Before(r.kinds[oldest].time) {
				oldest = kind
			}
		}
		delete(r.kinds, oldest)
	}
	e.count++
	r.kinds[e.recentKind] = &e
}

// list returns what is remembered, the newest first.
func (r *recent) list() []recentError {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]recentError, 0, len(r.kinds))
	for _, e := range r.kinds {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b recentError) int { return b.time.Compare(a.time) })
	return all
}

// bounded is text of so many bytes at most, in UTF-8 as a message needs it.
func bounded(text string, most int) string {
	if len(text) > most {
		cut := most - len("...")
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
