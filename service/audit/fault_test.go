package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/service/metrics"
)

// logged returns a config whose log is kept.
func logged(t *testing.T, mode Mode) (Config, *lockedBuffer) {
	cfg := config(t)
	out := &lockedBuffer{}
	cfg.Sync, cfg.Log = mode, slog.New(slog.NewTextHandler(out, nil))
	return cfg, out
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// healed waits until records can be written again.
func healed(t *testing.T, l *Log) {
	t.Helper()
	succeeds(t, func() error { return l.Note(t.Context(), anIntent(), Result{Outcome: Failed, Reason: "AFTER"}) })
}

// succeeds waits until a record can be written.
func succeeds(t *testing.T, record func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := record()
		if err == nil {
			return
		}
		if !errors.Is(err, ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// wantRecords fails unless the log verifies and has as many results as were
// confirmed, in the order in which they were.
func wantRecords(t *testing.T, path string, reasons []string) {
	t.Helper()
	mustVerify(t, path)
	var got []string
	for r, err := range Records(t.Context(), []string{path}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason != "" && r.Reason != "AFTER" {
			got = append(got, r.Reason)
		}
	}
	if strings.Join(got, " ") != strings.Join(reasons, " ") {
		t.Errorf("log has %v, confirmed were %v", got, reasons)
	}
}

// fillUp notes until the disk is full, and returns what was confirmed.
func fillUp(t *testing.T, l *Log, most int) []string {
	t.Helper()
	var confirmed []string
	for i := range most {
		reason := fmt.Sprintf("r%d", i)
		err := l.Note(t.Context(), anIntent(), Result{Outcome: Failed, Reason: reason})
		if err != nil {
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("full disk: %v", err)
			}
			return confirmed
		}
		confirmed = append(confirmed, reason)
	}
	t.Fatal("the disk was never full")
	return nil
}

// wantCounted fails unless Prometheus would read so many records and failures.
func wantCounted(t *testing.T, counted *metrics.Metrics, records, failures int) {
	t.Helper()
	w := httptest.NewRecorder()
	counted.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for name, want := range map[string]int{
		"records_total": records, "failures_total": failures, "flush_duration_seconds_count": records,
	} {
		if line := fmt.Sprintf("\njotsmith_audit_%s %d\n", name, want); !strings.Contains(w.Body.String(), line) {
			t.Errorf("no %q", line)
		}
	}
}

// TestFullDisk stops a write at every kind of place in a record.
func TestFullDisk(t *testing.T) {
	for _, mode := range []Mode{SyncNone, SyncBatch, SyncRecord} {
		for _, room := range []int64{0, 1, 100, 399, 400, 401, 1024, 3000} {
			t.Run(fmt.Sprint(mode, room), func(t *testing.T) {
				cfg, out := logged(t, mode)
				counted := metrics.New(metrics.Config{})
				cfg.Metrics = counted.Audit
				disk := &faultyDisk{}
				l := mustOpenOn(t, cfg, disk)
				disk.set(func() { disk.limited, disk.room = true, room })
				confirmed := fillUp(t, l, 100)
				wantCounted(t, counted, len(confirmed), 1)
				disk.set(func() { disk.limited = false })
				healed(t, l)
				wantRecords(t, cfg.Path, confirmed)
				for _, line := range []string{"cannot record", "records again"} {
					if strings.Count(out.String(), line) != 1 {
						t.Errorf("log should have %q once:\n%s", line, out)
					}
				}
			})
		}
	}
}

// TestFullDiskThatCannotBeCutBack leaves half a line until the file can be
// opened again.
func TestFullDiskThatCannotBeCutBack(t *testing.T) {
	cfg, _ := logged(t, SyncBatch)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	disk.set(func() { disk.limited, disk.room, disk.cutErr = true, 1000, syscall.EIO })
	confirmed := fillUp(t, l, 100)
	if text := read(t, cfg.Path); strings.HasSuffix(text, "\n") {
		t.Fatal("the log is not torn, and the test proves nothing")
	}
	for range 20 { // nothing goes behind the torn line
		if err := l.Note(t.Context(), anIntent(), Result{}); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	disk.set(func() { disk.limited, disk.openErr = false, syscall.EMFILE })
	if err := l.Reopen(); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("reopened: %v", err)
	}
	disk.set(func() { disk.openErr, disk.cutErr = nil, nil })
	healed(t, l)
	wantRecords(t, cfg.Path, confirmed)
}

// TestFailedFlushIsNotBelieved: after a failed fsync a second one that works
// says nothing of the first one's pages.
func TestFailedFlushIsNotBelieved(t *testing.T) {
	cfg, out := logged(t, SyncBatch)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	if err := l.Note(t.Context(), anIntent(), Result{Reason: "kept"}); err != nil {
		t.Fatal(err)
	}
	disk.set(func() { disk.syncErr = syscall.EIO })
	for range 5 {
		if err := l.Note(t.Context(), anIntent(), Result{Reason: "lost"}); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrUnavailable) {
			t.Fatalf("failed flush: %v", err)
		}
	}
	disk.set(func() { disk.syncErr = nil })
	healed(t, l)
	wantRecords(t, cfg.Path, []string{"kept"})
	if !strings.Contains(out.String(), "cut back to its last confirmed record") {
		t.Errorf("the log does not say that it was cut back:\n%s", out)
	}
}

// TestForeignChangesAreNotWrittenOver: the log stays failed over a file that is
// not as it left it, until it is moved away.
func TestForeignChangesAreNotWrittenOver(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"cut off": func(path string) error { return os.Truncate(path, 300) },
		"another file": func(path string) error {
			return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, []byte("x\n"), 0o600))
		},
		"opened to all": func(path string) error { return errors.Join(os.Truncate(path, 0), os.Chmod(path, 0o666)) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := logged(t, SyncNone)
			disk := &faultyDisk{}
			l := mustOpenOn(t, cfg, disk)
			mint(t, l, "x")
			if err := change(cfg.Path); err != nil {
				t.Fatal(err)
			}
			before := read(t, cfg.Path)
			if err := l.Reopen(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("reopened: %v", err)
			}
			if err := l.Note(t.Context(), anIntent(), Result{}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("recorded: %v", err)
			}
			if read(t, cfg.Path) != before {
				t.Error("the file was written to")
			}
			if err := os.Rename(cfg.Path, cfg.Path+".away"); err != nil {
				t.Fatal(err)
			}
			healed(t, l)
			if r := mustVerify(t, cfg.Path); r.First != 4 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

func TestGroupCommit(t *testing.T) {
	cfg, disk, l := batching(t)
	disk.syncs.Store(0)
	release := disk.hang()
	const callers = 1000
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if err := l.Note(t.Context(), anIntent(), aResult(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	disk.awaitHanging()
	release()
	wg.Wait()
	if n := disk.syncs.Load(); n < 1 || n > callers/10 {
		t.Errorf("%d flushes for %d records", n, callers)
	}
	if r := mustVerify(t, cfg.Path); r.Records != callers+1 {
		t.Errorf("report %+v", r)
	}
}

func TestEachRecordIsFlushed(t *testing.T) {
	cfg := config(t)
	cfg.Sync = SyncRecord
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	disk.syncs.Store(0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _ = l.Note(t.Context(), anIntent(), Result{}) })
	}
	wg.Wait()
	if n := disk.syncs.Load(); n != 50 {
		t.Errorf("%d flushes for 50 records", n)
	}
}

// TestTooManyWaitersFailAtOnce: a disk that hangs holds up no more callers than
// can be remembered.
func TestTooManyWaitersFailAtOnce(t *testing.T) {
	cfg := config(t)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	release := disk.hang()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Note(ctx, anIntent(), Result{}) })
	disk.awaitHanging()
	full := make(chan error, maxWaiting+1)
	for range maxWaiting + 1 {
		wg.Go(func() {
			if err := l.Note(ctx, Intent{}, Result{}); errors.Is(err, ErrUnavailable) {
				full <- err
			}
		})
	}
	if err := <-full; !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
	cancel()
	release()
	wg.Wait()
	healed(t, l)
	mustVerify(t, cfg.Path)
}

func TestNoRandomnessNoLog(t *testing.T) {
	cfg := config(t)
	cfg.Random = strings.NewReader("too short")
	if _, err := Open(cfg); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("opened: %v", err)
	}
}
