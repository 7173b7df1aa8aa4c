// Package halt is the switch that stops minting: for a key, a profile, a
// caller, or everybody. It is asked on every call, after the grant and before
// anything else, so what is halted mints nothing from the next call on.
package halt

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/service/statefile"
)

// ErrHalted says that an operator has stopped what was asked for.
var ErrHalted = errors.New("stopped by an operator")

// Kind is what an operator stops.
type Kind string

// The kinds.
const (
	Key        Kind = "key"        // by its name in the configuration
	Profile    Kind = "profile"    // by its name
	Caller     Kind = "caller"     // as the log names him
	Everything Kind = "everything" // without a name
)

// Target is one thing that can be stopped.
type Target struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"`
}

// Entry is something that is stopped.
type Entry struct {
	Target
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Time   time.Time `json:"time"`
}

// maxFile is the largest file that Open reads, in bytes.
const maxFile = 4 << 20

// maxEntries bounds what can be stopped at once, so that the file stays below
// maxFile.
const maxEntries = 4096

// Switch knows what is stopped. It is safe for concurrent use.
type Switch struct {
	path string // empty where nothing is kept over a restart

	stopped atomic.Pointer[map[Target]Entry] // never changed, always replaced
	mu      sync.Mutex                       // one writer
}

// file is what stands in the file.
type file struct {
	Stopped []Entry `json:"stopped"`
}

// Open reads what was stopped before a restart from path, which need not be
// there. An empty path keeps nothing. A file that cannot be read is an error:
// a server that forgets what was stopped would mint it again.
func Open(path string) (*Switch, error) {
	s := &Switch{path: path}
	stopped := map[Target]Entry{}
	s.stopped.Store(&stopped)
	if path == "" {
		return s, nil
	}
	data, err := statefile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("state file %s: %w; mend it, or remove it to let everything go on", path, err)
	}
	for _, e := range f.Stopped {
		if err := e.valid(); err != nil {
			return nil, fmt.Errorf("state file %s: %w; mend it, or remove it to let everything go on", path, err)
		}
		stopped[e.Target] = e
	}
	return s, nil
}

func (t Target) valid() error {
	switch t.Kind {
	case Key, Profile, Caller:
		if t.Name != "" {
			return nil
		}
	case Everything:
		if t.Name == "" {
			return nil
		}
	}
	return fmt.Errorf("%q with the name %q cannot be stopped", t.Kind, t.Name)
}

// String names the target, as in "profile asc".
func (t Target) String() string {
	if t.Name == "" {
		return string(t.Kind)
	}
	return string(t.Kind) + " " + t.Name
}

// Check returns an error that is ErrHalted where any of these is stopped.
func (s *Switch) Check(key, profile, caller string) error {
	stopped := *s.stopped.Load()
	if len(stopped) == 0 {
		return nil
	}
	for _, t := range [...]Target{{Everything, ""}, {Key, key}, {Profile, profile}, {Caller, caller}} {
		if e, ok := stopped[t]; ok {
			return fmt.Errorf("%w: %s since %s: %s", ErrHalted, t, e.Time.Format(time.RFC3339), e.Reason)
		}
	}
	return nil
}

// Stop stops a target, on the disk before it returns. What is stopped already
// stays so, with its first reason.
func (s *Switch) Stop(e Entry) error {
	if err := e.valid(); err != nil {
		return err
	}
	return s.change(func(stopped map[Target]Entry) error {
		if _, ok := stopped[e.Target]; ok {
			return nil
		}
		if len(stopped) >= maxEntries {
			return fmt.Errorf("%d targets are stopped already; stop everything, or let some go on", maxEntries)
		}
		e.Time = e.Time.UTC()
		stopped[e.Target] = e
		return nil
	})
}

// GoOn ends a Stop and says whether there was one.
func (s *Switch) GoOn(t Target) (was bool, err error) {
	if err := t.valid(); err != nil {
		return false, err
	}
	err = s.change(func(stopped map[Target]Entry) error {
		_, was = stopped[t]
		delete(stopped, t)
		return nil
	})
	return was, err
}

// Stopped returns what is stopped, the first first.
func (s *Switch) Stopped() []Entry {
	return slices.SortedFunc(maps.Values(*s.stopped.Load()), func(a, b Entry) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.String(), b.String()))
	})
}

// change makes a change, in memory first: what is stopped is stopped even where
// the disk is full, and the error then says that a restart would forget it.
func (s *Switch) change(edit func(map[Target]Entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.stopped.Load())
	if err := edit(next); err != nil {
		return err
	}
	s.stopped.Store(&next)
	if err := s.write(); err != nil {
		return fmt.Errorf("it counts until the server restarts, and is not in the state file: %w", err)
	}
	return nil
}

// write replaces the file whole. The caller holds mu.
func (s *Switch) write() error {
	if s.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(file{s.Stopped()}, "", "  ")
	if err != nil {
		return err
	}
	return statefile.Replace(s.path, append(data, '\n'))
}
