package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// waiting starts a wait and returns what brings its end.
func waiting(ctx context.Context, w *watches, d time.Duration) <-chan error {
	end, change := make(chan error, 1), w.next()
	go func() { end <- w.wait(ctx, d, change) }()
	synctest.Wait()
	return end
}

func alarmsOf(w *watches) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.alarms)
}

func TestWaitEndsWithinATickAfterItsTimeAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatches(WatchLimits{})
		time.Sleep(tickLength / 3)
		for _, d := range []time.Duration{-time.Second, 0, 1, tickLength, 10*time.Second + 1, 365 * 24 * time.Hour} {
			began := time.Now()
			if err := w.wait(t.Context(), d, w.next()); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(began) - max(d, 0); late < 0 || late >= tickLength {
				t.Errorf("%v: %v late", d, late)
			}
		}
	})
}

func TestThoseWhoWaitForOneTickShareAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatches(WatchLimits{})
		ctx, cancel := context.WithCancel(t.Context())
		gone := waiting(ctx, w, time.Minute)
		stays := waiting(t.Context(), w, time.Minute-tickLength/2)
		later := waiting(ctx, w, time.Hour)
		if alarmsOf(w) != 2 {
			t.Errorf("%d alarms for two times", alarmsOf(w))
		}
		cancel()
		if a, b := <-gone, <-later; !errors.Is(a, context.Canceled) || !errors.Is(b, context.Canceled) {
			t.Errorf("cancelled waits ended with %v and %v", a, b)
		}
		if alarmsOf(w) != 1 {
			t.Errorf("%d alarms for the one that waits", alarmsOf(w))
		}
		began := time.Now()
		if err := <-stays; err != nil || time.Since(began) > time.Minute {
			t.Errorf("ended with %v after %v", err, time.Since(began))
		}
		if alarmsOf(w) != 0 {
			t.Errorf("%d alarms for nobody", alarmsOf(w))
		}
	})
}

func TestAChangeAndADrainEndEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatches(WatchLimits{})
		before := w.next()
		one, other := waiting(t.Context(), w, time.Minute), waiting(t.Context(), w, time.Hour)
		began := time.Now()
		w.changed()
		if a, b := <-one, <-other; a != nil || b != nil {
			t.Errorf("ended with %v and %v", a, b)
		}
		if err := w.wait(t.Context(), time.Hour, before); err != nil { // the change came before the wait
			t.Error(err)
		}
		one = waiting(t.Context(), w, time.Hour)
		w.drain()
		if err := <-one; !errors.Is(err, errDraining) {
			t.Errorf("ended with %v", err)
		}
		if err := w.wait(t.Context(), time.Hour, w.next()); !errors.Is(err, errDraining) {
			t.Errorf("after the drain: %v", err)
		}
		if passed := time.Since(began); passed != 0 || alarmsOf(w) != 0 {
			t.Errorf("%v have passed, and %d alarms are left", passed, alarmsOf(w))
		}
	})
}

func TestAsideReturnsErrorsAndPanicsAndCanBeUsedAgain(t *testing.T) {
	var a aside
	want := errors.New("x")
	for range 3 {
		if err := a.do(func() error { return want }); !errors.Is(err, want) {
			t.Errorf("returned %v", err)
		}
		func() {
			defer func() {
				if p := recover(); p != "y" {
					t.Errorf("panicked with %v", p)
				}
			}()
			_ = a.do(func() error { panic("y") })
		}()
		if err := a.do(func() error { return nil }); err != nil {
			t.Errorf("returned %v", err)
		}
	}
}
