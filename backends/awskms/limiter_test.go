package awskms

import (
	"testing"
	"time"
)

func TestLimiterHalvesOnceAStormAndRecovers(t *testing.T) {
	l := newLimiter(800)
	now := time.Unix(1e9, 0)
	for range 64 { // the answers to all that was in flight
		l.throttled(now)
		now = now.Add(time.Millisecond)
	}
	if l.rate != 400 {
		t.Fatalf("rate after one storm is %v, want 400", l.rate)
	}
	now = now.Add(cutPause)
	if rate, cut := l.throttled(now); !cut || rate != 200 {
		t.Fatalf("rate after the next storm is %v, want 200", rate)
	}
	for range 100 {
		now = now.Add(cutPause)
		l.throttled(now)
	}
	if want := 800.0 / floorShare; l.rate != want {
		t.Fatalf("rate after a hundred storms is %v, want the floor of %v", l.rate, want)
	}
	last := l.rate
	for range int(recoveryTime / growStep) {
		now = now.Add(growStep)
		l.take(now, time.Hour)
		if l.rate < last {
			t.Fatalf("rate falls from %v to %v without a throttle", last, l.rate)
		}
		last = l.rate
	}
	if l.rate != 800 {
		t.Errorf("rate is %v after %v of quiet, want 800", l.rate, recoveryTime)
	}
}

func TestLimiterRefusesALongWaitAndTakesNothing(t *testing.T) {
	l := newLimiter(10)
	now := time.Unix(1e9, 0)
	if wait, ok := l.take(now, 0); !ok || wait != 0 {
		t.Fatalf("the first signature waits %v, %v", wait, ok)
	}
	for range 100 {
		if wait, ok := l.take(now, 50*time.Millisecond); ok || wait <= 50*time.Millisecond || wait > 100*time.Millisecond {
			t.Fatalf("a wait of %v is taken (%v) where 50ms is the most", wait, ok)
		}
	}
	if wait, ok := l.take(now, time.Second); !ok || wait > 100*time.Millisecond {
		t.Errorf("the refused ones hold places: the next waits %v, %v", wait, ok)
	}
}

// The quota is per second: what goes out in any second must stay below it.
func TestLimiterKeepsTheRate(t *testing.T) {
	l := newLimiter(900)
	now := time.Unix(1e9, 0)
	sent := 0
	for range 1000 {
		for {
			if wait, ok := l.take(now, 0); !ok || wait > 0 {
				break
			}
			sent++
		}
		now = now.Add(time.Millisecond)
	}
	if sent < 880 || sent > 1000 {
		t.Errorf("%d signatures in a second, want 900 and a burst of 90", sent)
	}
}
