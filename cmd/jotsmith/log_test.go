package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/jotsmith/jotsmith/proto/jotsmith/config/v1"
	"github.com/jotsmith/jotsmith/service"
)

// called is the message of the lines that may wait.
const called = service.CallMessage

// writes counts the writes that reach the disk.
type writes struct {
	mu    sync.Mutex
	count int
	text  bytes.Buffer
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	return w.text.Write(p)
}

func (w *writes) state() (count int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.text.String()
}

func TestLinesOfCallsAreWrittenTogetherAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &writes{}
		log, flush := newLog(out, &configv1.Log{Level: "info", Format: "json"})
		for range 10 {
			log.Info(called)
		}
		if count, text := out.state(); count != 0 {
			t.Errorf("%d writes at once: %s", count, text)
		}
		time.Sleep(holdTime)
		synctest.Wait()
		if count, text := out.state(); count != 1 || strings.Count(text, "\n") != 10 {
			t.Errorf("%d writes of %q", count, text)
		}
		log.Info(called)
		flush()
		if count, text := out.state(); count != 2 || strings.Count(text, "\n") != 11 {
			t.Errorf("after a flush: %d writes of %q", count, text)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if count, _ := out.state(); count != 2 {
			t.Errorf("%d writes of nothing", count-2)
		}
	})
}

func TestWhatAnOperatorShouldSeeIsWrittenAtOnceAndInOrder(t *testing.T) {
	out := &writes{}
	log, flush := newLog(out, &configv1.Log{Level: "debug", Format: "text"})
	defer flush()
	log = log.With("key", "k").WithGroup("g")
	log.Info(called, "n", 1)
	log.Error(called, "n", 2)
	log.Info(called, "n", 3)
	log.Info("listening", "n", 4)
	_, text := out.state()
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if want := fmt.Sprintf("key=k g.n=%d", i+1); !strings.HasSuffix(line, want) {
			t.Errorf("line %q, want %q", line, want)
		}
	}
	if strings.Count(text, "\n") != 4 {
		t.Errorf("log %q", text)
	}
}

func TestHeldLinesAreBounded(t *testing.T) {
	out := &writes{}
	log, flush := newLog(out, &configv1.Log{Level: "info", Format: "json"})
	defer flush()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				log.Info(called, slog.String("filler", strings.Repeat("x", 500)))
			}
		})
	}
	wg.Wait()
	flush()
	count, text := out.state()
	if strings.Count(text, "\n") != 1600 || count < 1600*500/maxHeld || count > 100 {
		t.Errorf("%d lines in %d writes", strings.Count(text, "\n"), count)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}") {
			t.Fatalf("a torn line: %q", line)
		}
	}
}
