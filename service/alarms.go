package service

import (
	"context"
	"time"
)

// tickLength is how exact alarms are. Those who wait for the same tick share one.
const tickLength = 250 * time.Millisecond

// tick is a time, in ticks since the watches began to be kept. No step of the clock
// moves it.
type tick int64

// alarm wakes the watches that wait for its tick, at a change, or when the server stops.
// A watch that waits has no timer of its own, and no more than two channels to listen to:
// what a goroutine waits for takes a hundred bytes for each channel.
type alarm struct {
	rings   chan struct{} // closed when it does
	timer   *time.Timer
	waiting int
}

// wait waits until the time has come, something has changed since change was taken from
// next, ctx ends or the server stops. It returns why there is no more to wait for, if so.
func (w *watches) wait(ctx context.Context, d time.Duration, change <-chan struct{}) error {
	if at, a := w.set(d, change); a != nil {
		select {
		case <-ctx.Done():
		case <-a.rings:
		}
		w.unset(at, a)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.isDraining() {
		return errDraining
	}
	return nil
}

// set has somebody wait for an alarm, of which there is none where there is nothing to
// wait for.
func (w *watches) set(d time.Duration, change <-chan struct{}) (tick, *alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d <= 0 || change != w.change || w.isDraining() {
		return 0, nil
	}
	passed := time.Since(w.start)
	at := tick((passed + d + tickLength - 1) / tickLength)
	a, ok := w.alarms[at]
	if !ok {
		a = &alarm{rings: make(chan struct{})}
		a.timer = time.AfterFunc(time.Duration(at)*tickLength-passed, func() { w.ring(at, a) })
		w.alarms[at] = a
	}
	a.waiting++
	return at, a
}

// unset ends the wait of one.
func (w *watches) unset(at tick, a *alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiting--; a.waiting == 0 && w.alarms[at] == a {
		a.timer.Stop()
		delete(w.alarms, at)
	}
}

// ring rings an alarm that has not rung and that somebody waits for.
func (w *watches) ring(at tick, a *alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alarms[at] == a {
		delete(w.alarms, at)
		close(a.rings)
	}
}

// ringAll rings all alarms. The caller holds mu.
func (w *watches) ringAll() {
	for _, a := range w.alarms {
		a.timer.Stop()
		close(a.rings)
	}
	clear(w.alarms)
}
