package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// again records a repetition.
func again(t *testing.T, l *Log, reason string) {
	t.Helper()
	if err := l.Again(t.Context(), anIntent(), Result{Reason: reason}); err != nil {
		t.Fatal(err)
	}
}

// awaitSyncs waits until the disk has flushed so often.
func awaitSyncs(t *testing.T, disk *faultyDisk, want int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); disk.syncs.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d flushes, want %d", disk.syncs.Load(), want)
		}
	}
}

// batching is a log with flushes for many, on a disk whose faults are the test's.
func batching(t *testing.T) (Config, *faultyDisk, *Log) {
	t.Helper()
	cfg, disk := config(t), &faultyDisk{}
	cfg.Sync = SyncBatch
	return cfg, disk, mustOpenOn(t, cfg, disk)
}

func TestARepetitionIsWrittenAtOnceAndFlushedSoon(t *testing.T) {
	cfg, disk, l := batching(t)
	disk.syncs.Store(0)
	began := time.Now()
	for range 3 {
		again(t, l, "x")
	}
	if n := disk.syncs.Load(); n != 0 && time.Since(began) < lag {
		t.Errorf("waited for %d flushes", n)
	}
	if n := strings.Count(read(t, cfg.Path), `"reason":"x"`); n != 3 {
		t.Errorf("%d of 3 records are written", n)
	}
	awaitSyncs(t, disk, 1)
	time.Sleep(2 * lag)
	if n := disk.syncs.Load(); n != 1 {
		t.Errorf("%d flushes of what one confirms", n)
	}
	again(t, l, "x")
	awaitSyncs(t, disk, 2)
	if r := mustVerify(t, cfg.Path); r.Records != 5 {
		t.Errorf("report %+v", r)
	}
}

func TestARepetitionIsFlushedWhereEachRecordIs(t *testing.T) {
	cfg := config(t)
	cfg.Sync = SyncRecord
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	disk.syncs.Store(0)
	again(t, l, "x")
	if n := disk.syncs.Load(); n != 1 {
		t.Errorf("%d flushes", n)
	}
}

// TestRepetitionsAmongOthers has both kinds come together while the file is rotated
// and moved away.
func TestRepetitionsAmongOthers(t *testing.T) {
	cfg := config(t)
	cfg.Sync, cfg.MaxBytes = SyncBatch, 20_000
	cfg.Company = func() int { return 32 }
	l := mustOpen(t, cfg)
	const callers, each = 32, 40
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := range each {
				var err error
				if g%2 == 0 {
					err = l.Again(t.Context(), anIntent(), aResult(fmt.Sprint(g, i)))
				} else {
					err = l.Note(t.Context(), anIntent(), aResult(fmt.Sprint(g, i)))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(cfg.Path, "/audit.jsonl")
	if r := mustVerify(t, dir); r.Records != uint64(callers*each+r.Files) || r.Files < 10 {
		t.Errorf("report %+v", r)
	}
}

func TestARepetitionThatCannotBeWrittenIsNone(t *testing.T) {
	cfg, disk, l := batching(t)
	again(t, l, "kept")
	disk.set(func() { disk.limited, disk.room = true, 100 })
	err := l.Again(t.Context(), anIntent(), Result{Reason: "lost"})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
	disk.set(func() { disk.limited = false })
	healed(t, l)
	wantRecords(t, cfg.Path, []string{"kept"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Again(t.Context(), anIntent(), Result{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("closed log: %v", err)
	}
}

// TestALateFlushThatFails: the repetition has been answered and stands; what comes
// next waits for a disk that flushes again.
func TestALateFlushThatFails(t *testing.T) {
	cfg, out := logged(t, SyncBatch)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	disk.syncs.Store(0)
	disk.set(func() { disk.syncErr = syscall.EIO })
	again(t, l, "kept")
	awaitSyncs(t, disk, 1)
	if err := l.Note(t.Context(), anIntent(), Result{Reason: "lost"}); !errors.Is(err, syscall.EIO) {
		t.Errorf("recorded: %v", err)
	}
	disk.set(func() { disk.syncErr = nil })
	healed(t, l)
	wantRecords(t, cfg.Path, []string{"kept"})
	if !strings.Contains(out.String(), "cannot record") {
		t.Errorf("the log says nothing of it:\n%s", out)
	}
}

// TestRepetitionsAreFlushedAfterAFault that came between a repetition and its flush.
func TestRepetitionsAreFlushedAfterAFault(t *testing.T) {
	cfg, disk, l := batching(t)
	again(t, l, "x")
	disk.set(func() { disk.limited, disk.room, disk.cutErr = true, 10, syscall.EIO })
	if err := l.Again(t.Context(), anIntent(), Result{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: %v", err)
	}
	time.Sleep(2 * lag) // the flush would have come
	disk.set(func() { disk.limited, disk.cutErr = false, nil })
	succeeds(t, func() error { return l.Again(t.Context(), anIntent(), Result{Reason: "x"}) })
	time.Sleep(2 * lag)
	disk.syncs.Store(0)
	again(t, l, "x")
	awaitSyncs(t, disk, 1)
	wantRecords(t, cfg.Path, []string{"x", "x", "x"})
}

// TestARepetitionEndsWithItsContext while another record is being written.
func TestARepetitionEndsWithItsContext(t *testing.T) {
	cfg, disk, l := batching(t)
	release := disk.hang()
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Note(t.Context(), anIntent(), Result{}) })
	disk.awaitHanging()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Again(ctx, anIntent(), Result{}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		t.Errorf("while the disk hangs: %v", err)
	}
	release()
	wg.Wait()
	mint(t, l, "after")
	mustVerify(t, cfg.Path)
}

// TestRecordsWaitForCompany holds how many calls are waited for, and that it is but a
// moment.
func TestRecordsWaitForCompany(t *testing.T) {
	for name, tt := range map[string]struct{ company, records int }{
		"most of them come":         {company: 64, records: 48},
		"fewer come, after a while": {company: 1000, records: 5},
		"nobody else is there":      {company: 1, records: 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.Sync, cfg.Company = SyncBatch, func() int { return tt.company }
			disk := &faultyDisk{}
			l := mustOpenOn(t, cfg, disk)
			disk.syncs.Store(0)
			receipts := make([]Receipt, tt.records)
			for i := range receipts {
				var err error
				if receipts[i], err = l.Put(anIntent(), aResult(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range receipts {
				if err := r.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if n := disk.syncs.Load(); n > 3 { // one, where nothing holds this process up
				t.Errorf("%d flushes for %d records", n, tt.records)
			}
			if r := mustVerify(t, cfg.Path); r.Records != uint64(tt.records+1) {
				t.Errorf("report %+v", r)
			}
		})
	}
}
