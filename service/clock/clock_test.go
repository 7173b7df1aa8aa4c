package clock

import (
	"errors"
	"testing"
	"time"
)

// hands are two clocks that a test moves.
type hands struct {
	wall time.Time
	mono time.Duration
}

func (h *hands) pass(d time.Duration) { h.wall, h.mono = h.wall.Add(d), h.mono+d }

func newHands() (*hands, *Clock) {
	h := &hands{wall: time.Date(2027, time.January, 1, 12, 0, 0, 0, time.UTC)}
	return h, New(func() time.Time { return h.wall }, func() time.Duration { return h.mono })
}

func TestClockNeverSetIsUntrusted(t *testing.T) {
	h, c := newHands()
	h.wall = time.Unix(0, 0)
	if _, err := c.Now().Time(); !errors.Is(err, ErrUntrusted) {
		t.Errorf("1970: %v", err)
	}
	h.wall = built
	if _, err := c.Now().Time(); err != nil {
		t.Errorf("the day of the first build: %v", err)
	}
}

func TestStepBackIsUntrustedUntilTheClockHasCaughtUp(t *testing.T) {
	h, c := newHands()
	before := c.Now()
	h.pass(time.Minute)
	c.Now()
	h.wall = h.wall.Add(-5 * time.Second)
	if _, err := c.Now().Time(); err != nil {
		t.Errorf("5 s back: %v", err)
	}
	h.wall = h.wall.Add(-time.Hour)
	now := c.Now()
	if _, err := now.Time(); !errors.Is(err, ErrUntrusted) {
		t.Errorf("an hour back: %v", err)
	}
	if want := (Steps{Backward: 1}); now.Steps != want || before.Steps != (Steps{}) {
		t.Errorf("steps %+v, want %+v", now.Steps, want)
	}
	if now.Mono != before.Mono+time.Minute {
		t.Errorf("monotonic time went from %v to %v", before.Mono, now.Mono)
	}
	h.pass(time.Hour)
	if now := c.Now(); now.err != nil || now.Steps.Backward != 1 || now.Steps.Forward != 0 {
		t.Errorf("an hour later: %+v", now)
	}
}

func TestStepsAreCountedOnce(t *testing.T) {
	h, c := newHands()
	for range 3 {
		h.pass(time.Hour)
		c.Now()
	}
	h.wall = h.wall.Add(6 * time.Second)
	for range 3 {
		h.pass(time.Hour)
		if got := c.Now().Steps; got != (Steps{Forward: 1}) {
			t.Fatalf("steps %+v", got)
		}
	}
	// Many small steps are a large one.
	for range 6 {
		h.pass(time.Second)
		h.wall = h.wall.Add(time.Second)
		c.Now()
	}
	if got := c.Now().Steps; got != (Steps{Forward: 2}) {
		t.Errorf("six steps of a second: %+v", got)
	}
}

func TestSystemClockRuns(t *testing.T) {
	c := System()
	first := c.Now()
	second := c.Now()
	if now, err := second.Time(); err != nil || time.Since(now) > time.Minute || second.Mono < first.Mono {
		t.Errorf("%v, %v; %v then %v", now, err, first.Mono, second.Mono)
	}
	if time.Since(c.Wall()) > time.Minute {
		t.Errorf("wall %v", c.Wall())
	}
}
