package service

import (
	"sync/atomic"
	"testing"
)

func TestAbreastDoesEachOnce(t *testing.T) {
	for _, width := range []int{1, 2, 7, 200} {
		var done [100]atomic.Int32
		abreast(width, len(done), func(i int) { done[i].Add(1) })
		for i := range done {
			if n := done[i].Load(); n != 1 {
				t.Fatalf("%d at once: %d is done %d times", width, i, n)
			}
		}
	}
}

// Whichever goroutine it happens in, it must not be the end of the server.
func TestPanicAbreastIsTheCallers(t *testing.T) {
	for _, culprit := range []int{0, 1, 50, 99} {
		func() {
			defer func() {
				if p := recover(); p != "x" {
					t.Errorf("%d: recovered %v", culprit, p)
				}
			}()
			abreast(4, 100, func(i int) {
				if i == culprit {
					panic("x")
				}
			})
			t.Errorf("%d: no panic", culprit)
		}()
	}
}
