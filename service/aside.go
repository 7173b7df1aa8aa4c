package service

import (
	"sync"

	"google.golang.org/grpc"
)

// aside does things in goroutines of their own, whose stacks, which a signature and an
// answer make deep, are given back when they are done. The goroutine of a watch waits
// long, and there may be many, and its stack does not shrink: gRPC's part of it is more
// than the quarter below which the collector halves one. As long as nothing deep is done
// on it, it has 4 KiB, and otherwise 8. The zero aside is ready, and safe for concurrent
// use.
type aside struct{ idle sync.Pool }

// errand is something that is done aside. It is used again, so that ten thousand watches
// that come at once leave less behind.
type errand struct {
	task     func() error
	run      func()
	done     sync.WaitGroup
	err      error
	panicked any
}

// do does a task and returns when it is done. A panic of it is the caller's, whom gRPC's
// interceptor stands behind.
func (a *aside) do(task func() error) error {
	e, ok := a.idle.Get().(*errand)
	if !ok {
		e = &errand{}
		e.run = func() {
			defer e.done.Done()
			defer func() { e.panicked = recover() }()
			e.err = e.task()
		}
	}
	e.task = task
	e.done.Add(1)
	go e.run()
	e.done.Wait()
	err, panicked := e.err, e.panicked
	e.task, e.err, e.panicked = nil, nil, nil
	a.idle.Put(e)
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// shallow has the messages of streams read aside: what takes one apart goes deeper than
// all that lies between gRPC and a watch that waits.
func (a *aside) shallow(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return next(srv, &shallowStream{stream, a}, info, handler)
	}
}

type shallowStream struct {
	grpc.ServerStream
	aside *aside
}

func (s *shallowStream) RecvMsg(m any) error {
	return s.aside.do(func() error { return s.ServerStream.RecvMsg(m) })
}
