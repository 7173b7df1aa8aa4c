//go:build cgo && unix

package pkcs11

import (
	"container/list"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// session is a worker's session with the token. One session is one operation
// at a time, so it never leaves its worker.
type session struct {
	ctx    *p11.Ctx
	handle p11.SessionHandle
	token  *hsmToken
	open   bool
	dirty  bool   // an operation may have been left half done
	login  uint64 // the login it works under; see login.ensure
}

// task is a call on its way through the pool.
type task struct {
	alive  func() error // Err of the caller's context
	token  *hsmToken
	run    func(*session) error
	began  time.Time
	login  uint64        // the login it ran under; read after done
	done   chan error    // one place: the worker never waits for the caller
	left   atomic.Int64  // when the caller left, in Unix nanoseconds; 0 while it waits
	queued *list.Element // its place in pool.queue; nil elsewhere. Guarded by pool.mu
}

// pool runs tasks on up to limit sessions, each with a goroutine of its own. A
// call inside the module cannot be cancelled: its caller leaves when its
// context ends, and the session serves nobody until the module returns.
type pool struct {
	module *module
	login  *login
	pace   pace
	limit  int
	stop   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	full    time.Time // the token has no session more to give: do not grow until then
	workers map[*worker]struct{}
	idle    []*worker // the one that worked last is the last
	queue   list.List // of *task: all workers are busy
}

type worker struct {
	pool    *pool
	session session
	inbox   chan *task // one place: filled by who takes it off the idle list
	current atomic.Pointer[task]
}

func newPool(m *module, lg *login, limit int, p pace) *pool {
	return &pool{
		module: m, login: lg, pace: p, limit: limit,
		stop: make(chan struct{}), workers: map[*worker]struct{}{},
	}
}

// do runs f on a session with the token, and says under which login. It returns
// when f does or when ctx ends, whichever comes first.
func (p *pool) do(ctx context.Context, token *hsmToken, f func(*session) error) (login uint64, err error) {
	t := &task{alive: ctx.Err, token: token, run: f, began: time.Now(), done: make(chan error, 1)}
	if err := p.submit(t); err != nil {
		return 0, err
	}
	select {
	case err := <-t.done:
		return t.login, err
	case <-ctx.Done():
		t.left.Store(time.Now().UnixNano())
		p.withdraw(t)
		return 0, ctx.Err()
	}
}

// submit hands the task to an idle worker, to a new one, or into the queue.
func (p *pool) submit(t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.limit
	if most := mostOpen(t.token.info); most > 0 && most < limit {
		limit = most
	}
	switch {
	case p.closed:
		return &backends.Error{Kind: backends.ErrClosed}
	case len(p.idle) > 0:
		last := len(p.idle) - 1
		p.idle[last].inbox <- t
		p.idle = p.idle[:last]
	case len(p.workers) == 0, len(p.workers) < limit && time.Now().After(p.full):
		w := &worker{pool: p, session: session{ctx: p.module.ctx}, inbox: make(chan *task, 1)}
		p.workers[w] = struct{}{}
		p.wg.Go(func() { w.work(t) })
	case p.hangs():
		return &backends.Error{
			Kind: backends.ErrUnavailable, RetryAfter: p.pace.hung,
			Err: errors.New("all sessions are held by calls that do not return from the module: isolate=true would end them"),
		}
	default:
		t.queued = p.queue.PushBack(t)
	}
	return nil
}

// withdraw takes a task out of the queue if it is still there.
func (p *pool) withdraw(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.queued != nil {
		p.queue.Remove(t.queued)
		t.queued = nil
	}
}

// mostOpen is how many sessions the token lets the pool have, or 0 for no
// limit; one is the link's.
func mostOpen(info p11.TokenInfo) int {
	switch n := info.MaxSessionCount; n {
	case p11.CK_EFFECTIVELY_INFINITE, ^uint(0): // the latter is CK_UNAVAILABLE_INFORMATION
		return 0
	case 1:
		return 1
	default:
		return int(min(n, mostSessions+1)) - 1
	}
}

// hangs says whether every worker sits in a call that its caller has long left.
func (p *pool) hangs() bool {
	for w := range p.workers {
		t := w.current.Load()
		if t == nil {
			return false
		}
		left := t.left.Load()
		if left == 0 || time.Since(time.Unix(0, left)) < p.pace.hung {
			return false
		}
	}
	return true
}

// close has the workers close their sessions and end. Wait for wg afterwards.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	close(p.stop)
	for p.queue.Len() > 0 {
		p.pop().done <- &backends.Error{Kind: backends.ErrClosed}
	}
}

// pop returns the task that waits longest. The caller holds mu.
func (p *pool) pop() *task {
	t := p.queue.Remove(p.queue.Front()).(*task)
	t.queued = nil
	return t
}

// work runs the first task and then whatever comes, until the pool closes or
// the token has no session for this worker.
func (w *worker) work(first *task) {
	defer w.quit()
	for t := first; t != nil; t = w.next() {
		w.current.Store(t)
		err := w.serve(t)
		w.current.Store(nil)
		_, step := judge(err)
		retired := step == rungSpare && w.retire()
		t.done <- err
		if retired {
			return
		}
		// The caller runs here and now, and comes back with its next call, ahead
		// of a call into C that would keep it waiting for another thread. It
		// makes a fifth of the rate of a module as fast as SoftHSM2.
		runtime.Gosched()
	}
}

// next returns the next task, or nil when the pool closes.
func (w *worker) next() *task {
	p := w.pool
	p.mu.Lock()
	if p.queue.Len() > 0 {
		defer p.mu.Unlock()
		return p.pop()
	}
	p.idle = append(p.idle, w)
	p.mu.Unlock()
	select {
	case t := <-w.inbox:
		return t
	case <-p.stop:
	}
	select {
	case t := <-w.inbox: // handed over just before
		return t
	default:
		return nil
	}
}

// retire leaves the work to the workers that have a session, if there are any.
func (w *worker) retire() bool {
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = time.Now().Add(p.pace.backoffMin)
	if len(p.workers) == 1 {
		return false
	}
	delete(p.workers, w)
	return true
}

func (w *worker) quit() {
	if w.session.open && w.pool.module.enter(w.session.token.generation) == nil {
		w.evict()
		w.pool.module.leave()
	}
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	delete(w.pool.workers, w)
}

// serve runs a task on the worker's session, opening and logging in first
// where needed.
func (w *worker) serve(t *task) error {
	if err := t.alive(); err != nil {
		return err
	}
	if err := w.pool.module.enter(t.token.generation); err != nil {
		return err
	}
	defer w.pool.module.leave()
	if err := w.prepare(t.token); err != nil {
		return err
	}
	if err := t.alive(); err != nil {
		return err // before a signature is spent
	}
	t.login = w.session.login
	err := t.run(&w.session)
	if _, step := judge(err); err != nil && (w.session.dirty || step == rungSession || step == rungDevice) {
		w.evict()
	}
	return err
}

// prepare makes the session one with the token, logged in.
func (w *worker) prepare(token *hsmToken) error {
	s := &w.session
	if s.open && s.token != token {
		if s.token.generation == token.generation {
			w.evict()
		}
		s.open = false // else it ended with its generation
	}
	s.token = token
	if !s.open {
		handle, err := s.ctx.OpenSession(token.slot, p11.CKF_SERIAL_SESSION)
		if err != nil {
			return calling("C_OpenSession", err)
		}
		s.handle, s.open, s.dirty = handle, true, false
	}
	err := w.pool.login.ensure(s)
	if _, step := judge(err); err != nil && step != rungNone {
		w.evict()
	}
	return err
}

// evict closes the session; the next task opens another.
func (w *worker) evict() {
	if w.session.open {
		_ = w.session.ctx.CloseSession(w.session.handle) // it may be dead
		w.session.open = false
	}
}
