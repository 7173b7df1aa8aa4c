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
func (p *place) serveAll() {
	for s := p.store; p != nil; p = s.next() {
		if p.work == nil {
			close(p.done)
			return
		}
		p.serve()
		runtime.Gosched() // else it keeps the processor from calls that have just come in
	}
}

// serve does a call's work. It panics in nobody's place but the caller's.
func (p *place) serve() {
	defer close(p.done)
	defer func() {
		if v := recover(); v != nil { // it may hold anything
			p.err = fmt.Errorf("%w of type %T", errPanic, v)
		}
	}()
	p.signature, p.err = p.work()
}
