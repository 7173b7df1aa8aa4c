package main

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/jotsmith/jotsmith/cmd/internal/config"
)

const (
	// settle is how long files must be quiet before they are looked at: who
	// writes one writes several.
	settle = 100 * time.Millisecond
	// settleAtMost is when they are looked at, quiet or not.
	settleAtMost = 2 * time.Second
	// pollEvery is how often they are looked at where the system tells nothing,
	// as on network file systems.
	pollEvery = 10 * time.Second
)

// changes says on trigger when the configuration should be read anew: at SIGHUP
// and when a file that it is made of has another content, until ctx ends.
func (s *server) changes(ctx context.Context, trigger chan<- struct{}) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	pull := func() {
		select {
		case trigger <- struct{}{}:
		default: // one is waiting already, and will find the same
		}
	}
	files := &watchedFiles{files: s.reloader.files, log: s.log}
	changed, stop := files.watch(ctx)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			s.log.InfoContext(ctx, "hangup")
			if s.service.Audit != nil { // which logrotate may have moved
				if err := s.service.Audit.Reopen(); err != nil {
					s.log.ErrorContext(ctx, "audit log not opened anew", "error", err)
				}
			}
			pull()
		case <-changed:
			s.log.InfoContext(ctx, "files changed")
			pull()
		}
	}
}

// watchedFiles notices when one of some files has another content, however it
// came there: written in place, renamed over, or behind a symbolic link that
// points elsewhere, as Kubernetes changes a ConfigMap.
type watchedFiles struct {
	files func() []string // which may be others after a reload
	log   *slog.Logger
	known [sha256.Size]byte
	names map[string]bool // of the files, and of what they are links to
}

// watch begins to watch, and says on the channel when something has changed.
// stop ends it and returns when it has ended.
func (w *watchedFiles) watch(ctx context.Context) (changed <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx, told)
	}()
	return told, func() { cancel(); <-ended }
}

func (w *watchedFiles) run(ctx context.Context, told chan<- struct{}) {
	events := make(<-chan fsnotify.Event) // which never comes, where there is no watcher
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.WarnContext(ctx, "files are polled alone", "every", pollEvery.String(), "error", err)
	} else {
		defer watcher.Close() //nolint:errcheck // nothing is left to be done with it
		events = watcher.Events
	}
	w.follow(watcher)
	w.known = digest(w.files())
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			if !w.concerned(event) {
				continue
			}
			if !w.quiet(ctx, events) {
				return
			}
		case <-poll.C:
		}
		w.follow(watcher)
		if now := digest(w.files()); now != w.known {
			w.known = now
			select {
			case told <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// follow watches the directories of the files, and of what they are links to.
func (w *watchedFiles) follow(watcher *fsnotify.Watcher) {
	if watcher == nil {
		return
	}
	w.names = map[string]bool{}
	for _, file := range w.files() {
		w.followOne(watcher, file)
		if target, err := filepath.EvalSymlinks(file); err == nil {
			w.followOne(watcher, target)
		}
	}
}

func (w *watchedFiles) followOne(watcher *fsnotify.Watcher, file string) {
	_ = watcher.Add(filepath.Dir(file)) // what cannot be watched is polled
	w.names[filepath.Clean(file)] = true
}

// concerned says whether an event can be of one of the files. Others in their
// directories are written too, the audit log perhaps, all the time.
func (w *watchedFiles) concerned(event fsnotify.Event) bool {
	return event.Op != fsnotify.Write || w.names[filepath.Clean(event.Name)]
}

// quiet waits until no event of the files has come for a while, or long enough; it is
// false where ctx ends.
func (w *watchedFiles) quiet(ctx context.Context, events <-chan fsnotify.Event) bool {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	enough := time.NewTimer(settleAtMost)
	defer enough.Stop()
	for {
		select {
		case event := <-events:
			if w.concerned(event) {
				timer.Reset(settle)
			}
		case <-timer.C:
			return true
		case <-enough.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// digest is another when a file has another content, has come or has gone.
func digest(files []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, file := range files {
		_, _ = io.WriteString(h, file+"\x00") // a hash takes everything
		f, err := os.Open(file)
		if err != nil {
			_, _ = io.WriteString(h, "none\x00")
			continue
		}
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() {
			_, _ = io.Copy(h, io.LimitReader(f, config.MaxSize+1))
		}
		_ = f.Close() // it was only read
		_, _ = io.WriteString(h, "\x00")
	}
	h.Sum(sum[:0])
	return sum
}
