package audit

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

func TestAStartedIntentStandsAheadOfItsResult(t *testing.T) {
	cfg := config(t)
	l := mustOpen(t, cfg)
	first, err := l.Start(t.Context(), anIntent())
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Start(t.Context(), anIntent())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Pending{second, first} {
		if err := p.End(t.Context(), Result{Outcome: Failed, Reason: "R"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, cfg.Path)
	var seen []uint64
	for r, err := range Records(t.Context(), []string{cfg.Path}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == typeResult {
			seen = append(seen, r.Intent)
		}
	}
	if len(seen) != 2 || seen[0] != 3 || seen[1] != 2 {
		t.Errorf("results of the intents %v", seen)
	}
}

// TestAResultWithoutItsIntentIsNone has the disk full when the intent comes, and
// room again when the result does.
func TestAResultWithoutItsIntentIsNone(t *testing.T) {
	cfg := config(t)
	disk := &faultyDisk{}
	l := mustOpenOn(t, cfg, disk)
	disk.set(func() { disk.limited, disk.room = true, 0 })
	p, err := l.Start(t.Context(), anIntent())
	if err != nil {
		t.Fatal(err)
	}
	for len(p.intent.done) == 0 { // the writer has answered
		time.Sleep(time.Millisecond)
	}
	disk.set(func() { disk.limited = false })
	healed(t, l)
	err = p.End(t.Context(), aResult("x"))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the result was recorded: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, cfg.Path)
	for r, err := range Records(t.Context(), []string{cfg.Path}) {
		if err != nil || r.Type == typeResult {
			t.Errorf("%v: %v", r, err)
		}
	}
}
