package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	jotsmithgo "github.com/jotsmith/jotsmith/clients/go"
)

// tokenFile is a file that has a token, and a newer one when there is one.
type tokenFile struct {
	dir    string
	stderr io.Writer
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// watchAgain is how long a watch that ended is left, at least, before the next.
const watchAgain = 5 * time.Second

// keepTokenFile makes the file once there is a first token, and keeps it until close.
// What goes wrong later is said on stderr.
func keepTokenFile(ctx context.Context, c *jotsmithgo.Client, profile string, options []jotsmithgo.Option, stderr io.Writer) (*tokenFile, error) {
	// A directory in memory, where there is one that is the user's own.
	dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "jotsmith-") // with mode 0700
	if err != nil {
		if dir, err = os.MkdirTemp("", "jotsmith-"); err != nil {
			return nil, fail(exitFailure, err)
		}
	}
	t := &tokenFile{dir: dir, stderr: stderr}
	waiting, stopWaiting := context.WithCancel(ctx)
	defer stopWaiting()
	// A signal is for the command to end at, and its token stays fresh until it has.
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	t.ended.Go(func() { t.follow(ctx, c, profile, options, first) })
	select {
	case err = <-first:
	case <-waiting.Done():
		err = fail(exitFailure, waiting.Err())
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tokenFile) path() string { return filepath.Join(t.dir, "token") }

// close removes the file and its directory.
func (t *tokenFile) close() {
	t.cancel()
	t.ended.Wait()
	if err := os.RemoveAll(t.dir); err != nil {
		fmt.Fprintln(t.stderr, "jotsmith: the token's file was not removed:", err)
	}
}

// follow writes each token until ctx ends. first gets what came of the first one.
func (t *tokenFile) follow(ctx context.Context, c *jotsmithgo.Client, profile string, options []jotsmithgo.Option, first chan<- error) {
	begun := false
	for ctx.Err() == nil {
		for token, err := range c.Watch(ctx, profile, options...) {
			if err == nil {
				err = t.replace(token)
			}
			if !begun {
				first <- err
				if err != nil {
					return
				}
				begun = true
			} else if err != nil {
				t.say(err)
			}
		}
		pause(ctx, watchAgain)
	}
}

// say tells of a token that did not come. A refusal counts: what is no longer given
// out is no longer there.
func (t *tokenFile) say(err error) {
	fmt.Fprintln(t.stderr, "jotsmith: the token was not renewed:", err)
	if e, ok := errors.AsType[*jotsmithgo.Error](err); ok && !e.Retryable {
		_ = os.Remove(t.path()) // it may be gone already
	}
}

// replace puts a token where the last one was. Whoever reads has one of the two.
func (t *tokenFile) replace(token jotsmithgo.Token) error {
	next := filepath.Join(t.dir, "next")
	if err := os.WriteFile(next, []byte(token.Reveal()), 0o600); err != nil {
		return fail(exitFailure, err)
	}
	return fail(exitFailure, os.Rename(next, t.path()))
}

// pause waits for a time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
