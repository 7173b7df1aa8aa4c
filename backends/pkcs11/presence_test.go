//go:build cgo && unix

package pkcs11

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// TestWaitersSeeWhatIsFound has callers wait just as the first attempt ends.
func TestWaitersSeeWhatIsFound(t *testing.T) {
	for range 500 {
		p := newPresence[int](quick(), errors.New("being looked for"))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := p.await(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		p.found(new(int))
		wg.Wait()
	}
}

func TestPausesGrowAndStartAgainAfterASuccess(t *testing.T) {
	pace := defaultPace()
	pace.jitter = func() float64 { return 1 }
	p := newPresence[int](pace, errors.New("being looked for"))
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60, 60} {
		if got := p.missed(errors.New("not there")); got != want*time.Second {
			t.Errorf("pause %d is %v, want %v", i, got, want*time.Second)
		}
	}
	if _, err := p.await(t.Context()); !isUnavailable(err) {
		t.Errorf("await between attempts = %v", err)
	}
	unproved, proved := new(int), new(int)
	p.found(unproved)
	if pause, lost := p.lose(unproved, errors.New("lost")); !lost || pause < time.Second {
		t.Errorf("the loss of what never served is mended after %v, %v", pause, lost)
	}
	p.found(proved)
	p.prove(proved)
	if pause, lost := p.lose(proved, errors.New("lost")); !lost || pause > 0 {
		t.Errorf("the loss of what served is mended after %v, %v, want at once", pause, lost)
	}
	if _, lost := p.lose(proved, errors.New("lost")); lost {
		t.Error("lost twice")
	}
	if got := p.missed(errors.New("not there")); got != 2*time.Second {
		t.Errorf("the first pause after a success is %v", got)
	}
	close(p.stop)
	p.found(proved)
	p.prove(proved)
	p.lose(proved, errors.New("lost"))
	if _, err := p.await(t.Context()); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("await after stop = %v", err)
	}
}

func TestBackoffStaysWithinItsLimits(t *testing.T) {
	for _, jitter := range []float64{0, 0.5, 1} {
		p := defaultPace()
		p.jitter = func() float64 { return jitter }
		for n := -1; n < 100; n++ {
			if got := p.backoff(n); got < time.Second || got > time.Minute {
				t.Errorf("backoff(%d) with jitter %v is %v", n, jitter, got)
			}
		}
	}
}
