package signer

import (
	"errors"
	"fmt"
	"runtime"
)

// errPanic says that a signature ended without a result.
var errPanic = errors.New("signer: panic")

// serve does the work of those who wait, until the store is closed.
func (s *store) serve() {
	for {
		select {
		case w := <-s.handed:
			w.serveAll()
		case <-s.closed:
			return
		}
	}
}

// serveAll does a call's work, and in the same turn that of those who wait then,
// up to one who wants the turn for himself.
func (w *waiter) serveAll() {
	for s := w.line.store; w != nil; w = s.next() {
		if w.work == nil {
			close(w.done)
			return
		}
		w.serve()
		runtime.Gosched() // else it keeps the processor from calls that have just come in
	}
}

// serve does a call's work. It panics in nobody's place but the caller's.
func (w *waiter) serve() {
	defer close(w.done)
	defer func() {
		if p := recover(); p != nil { // its value may hold anything
			w.err = fmt.Errorf("%w of type %T", errPanic, p)
		}
	}()
	w.work()
}
