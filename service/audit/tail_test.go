package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTailShowsTheLastLines(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	for i := range 1000 {
		mint(t, l, fmt.Sprint(i))
	}
	for _, n := range []int{0, 1, 10, 500, 2001, 5000} {
		next := uint64(2001 - min(n, 2001) + 1)
		err := Tail(t.Context(), cfg.Path, n, 0, func(r Record, _ []byte) error {
			if r.Seq != next {
				t.Fatalf("tail of %d: record %d, want %d", n, r.Seq, next)
			}
			next++
			return nil
		})
		if err != nil || next != 2002 {
			t.Errorf("tail of %d: ended at %d, %v", n, next, err)
		}
	}
	if err := Tail(t.Context(), filepath.Dir(cfg.Path), 1, 0, nil); err == nil {
		t.Error("tail of a directory")
	}
}

// TestTailFollowsRotation: each record comes once, in order, from whichever
// file it is in, as long as a file is seen before the next one takes its name.
func TestTailFollowsRotation(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan uint64)
	done := make(chan error, 1)
	go func() {
		done <- Tail(ctx, cfg.Path, 1, time.Millisecond, func(r Record, _ []byte) error {
			seen <- r.Seq
			return nil
		})
	}()
	next := uint64(1)
	until := func(last uint64) {
		t.Helper()
		for ; next <= last; next++ {
			select {
			case seq := <-seen:
				if seq != next {
					t.Fatalf("record %d, want %d", seq, next)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("record %d does not come", next)
			}
		}
	}
	until(1)
	mint(t, l, "x")
	until(3)
	for i := range 3 {
		mint(t, l, "x")
		if err := os.Rename(cfg.Path, fmt.Sprintf("%s.%d", cfg.Path, 3-i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		mint(t, l, "x")
		until(next + 4)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
