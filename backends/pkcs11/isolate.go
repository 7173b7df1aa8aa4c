//go:build cgo && unix

package pkcs11

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// isolated is a backend whose module lives in a child process, so that a module
// that crashes or hangs takes nothing but that process with it. Its goroutine,
// run, starts the child, watches it and starts the next one.
//
// What must not be forgotten when a child dies is kept here: which public key
// an id stands for, and what tokens said of PINs.
type isolated struct {
	*presence[child]
	config config
	pins   *pinMemory
	log    *slog.Logger

	opened chan error         // one place: how the first child opened the module
	cancel context.CancelFunc // ends run, together with stop
	done   sync.WaitGroup     // of run

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
	keys   map[string]wireKey
	turns  map[*child]pinDigest // the children inside pinLedger.begin to end

	closing sync.Once
}

func openIsolated(ctx context.Context, c config, log *slog.Logger, pace pace) (backends.KeyBackend, error) {
	b := &isolated{
		presence: newPresence[child](pace, errors.New("the module's process is being started")),
		config:   c,
		pins:     modules.pinsOf(c.modulePath),
		log:      log,
		opened:   make(chan error, 1),
		keys:     map[string]wireKey{},
		turns:    map[*child]pinDigest{},
	}
	b.config.isolate = false // as the child sees it
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel = cancel
	b.done.Go(func() { b.run(run) })
	timer := time.NewTimer(pace.firstWait)
	defer timer.Stop()
	select {
	case err := <-b.opened:
		if err != nil {
			_ = b.Close()
			return nil, err
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return b, nil
}

// run keeps a child until stop.
func (b *isolated) run(ctx context.Context) {
	// A child that is to die with its parent dies with the thread that started
	// it, so this goroutine keeps its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var c *child
	for b.due(b.pace.watch) {
		if current := b.current.Load(); current != nil {
			current.watch(ctx, b.pace, b.log)
			continue
		}
		if c != nil {
			b.log.WarnContext(ctx, "the module's process ended", "pid", c.command.Process.Pid, "error", c.end(0))
		}
		c = b.attempt(ctx)
	}
	if c != nil {
		_ = c.end(b.pace.closing) // how it ends does not matter any more
	}
}

// attempt starts a child and has it open the module. It returns the child, also
// one that is of no use, for its end.
func (b *isolated) attempt(ctx context.Context) *child {
	c, err := startChild(ctx, b)
	if err != nil {
		b.log.WarnContext(ctx, "the module's process cannot be started", "error", err, "retry_in", b.missed(err))
		return nil
	}
	if err := b.openModule(ctx, c); err != nil {
		if _, ok := errors.AsType[*backends.Error](err); ok {
			b.report(err) // the operator's to mend
		}
		b.log.WarnContext(ctx, "the module's process cannot open it", "error", err, "retry_in", b.missed(err))
		return c
	}
	b.log.InfoContext(ctx, "the module's process started", "pid", c.command.Process.Pid)
	b.found(c)
	b.report(nil)
	select {
	case <-c.gone:
		b.ended(c) // it was not yet the current one when it ended
	default:
	}
	return c
}

// openModule has the child open the module, knowing what earlier ones found.
func (b *isolated) openModule(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, b.pace.searchHangs)
	defer cancel()
	b.mu.Lock()
	keys := slices.Collect(maps.Values(b.keys))
	b.mu.Unlock()
	answer, err := c.ask(ctx, &message{Op: opOpen, URI: b.config.String(), PINKey: b.pins.key, Keys: keys})
	if err != nil {
		return err
	}
	return answer.Failure.err()
}

// report tells Open how the first child opened the module.
func (b *isolated) report(err error) {
	select {
	case b.opened <- err:
	default: // not the first
	}
}

// ended is told when a child answers no more.
func (b *isolated) ended(c *child) {
	b.mu.Lock()
	_, inside := b.turns[c]
	delete(b.turns, c)
	b.mu.Unlock()
	if inside {
		<-b.pins.turn // the verdict stays pending
	}
	b.lose(c, errGone)
}

// wrote is told what a module prints.
func (b *isolated) wrote(line string) {
	b.log.Warn("the module's process wrote", "text", line)
}

// heard takes what a child says unasked.
func (b *isolated) heard(ctx context.Context, c *child, m *message) {
	switch m.Op {
	case opLog:
		attributes := []slog.Attr{slog.String("event", m.Text)}
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			attributes = append(attributes, slog.String(name, m.Attributes[name]))
		}
		b.log.LogAttrs(ctx, m.Level, "the module's process reports", attributes...)
	case opKey:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.keys[m.KeyID] = wireKey{ID: m.KeyID, Public: m.Public, Latched: m.Failure}
	case opBegin, opMark, opEnd:
		if len(m.Digest) == len(pinDigest{}) {
			b.handlePIN(ctx, c, m, pinDigest(m.Digest))
		}
	}
}

func (b *isolated) handlePIN(ctx context.Context, c *child, m *message, d pinDigest) {
	switch m.Op {
	case opBegin:
		// The turn may be another child's, and this goroutine must go on.
		c.wg.Go(func() {
			select {
			case b.pins.turn <- struct{}{}:
			case <-c.gone:
				return
			}
			b.mu.Lock()
			b.turns[c] = d
			b.mu.Unlock()
			_ = c.tell(ctx, &message{Op: opBegin, ID: m.ID, Verdict: b.pins.known(d)})
			select {
			case <-c.gone:
				b.ended(c)
			default:
			}
		})
	case opMark:
		_ = b.pins.mark(d, m.Verdict)
	case opEnd:
		_ = b.pins.mark(d, m.Verdict)
		b.mu.Lock()
		_, inside := b.turns[c]
		delete(b.turns, c)
		b.mu.Unlock()
		if inside {
			<-b.pins.turn
		}
	}
}

// Describe implements [backends.KeyBackend].
func (b *isolated) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	var public *ecdsa.PublicKey
	answer, err := b.call(ctx, message{Op: opDescribe, KeyID: id})
	if err == nil {
		public, err = publicFromInfo(answer.Public, nil)
	}
	if err != nil {
		return backends.KeyInfo{}, named("describe", id, err)
	}
	return backends.KeyInfo{PublicKey: public, CanonicalID: answer.CanonicalID}, nil
}

// Sign implements [backends.KeyBackend].
func (b *isolated) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	var sig backends.Signature
	answer, err := b.call(ctx, message{Op: opSign, KeyID: id, Digest: digest[:]})
	if err == nil {
		sig, err = backends.SignatureFromRaw(answer.Signature)
		if err != nil {
			err = fail(backends.ErrSignatureInvalid, "%w", err)
		}
	}
	if err != nil {
		return backends.Signature{}, named("sign", id, err)
	}
	return sig, nil
}

// call asks the child, and once more the next one if it dies meanwhile.
func (b *isolated) call(ctx context.Context, m message) (*message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !b.admit() {
		return nil, &backends.Error{Kind: backends.ErrClosed}
	}
	defer b.calls.Done()
	for retried := false; ; retried = true {
		c, err := b.await(ctx)
		if err != nil {
			return nil, err
		}
		request := m // the last child's writer may still hold the last one
		answer, err := c.ask(ctx, &request)
		if err == nil {
			if err := answer.Failure.err(); err != nil {
				return nil, err
			}
			b.prove(c)
			return answer, nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		if retried {
			return nil, &backends.Error{Kind: backends.ErrUnavailable, RetryAfter: b.pace.backoffMin, Err: err}
		}
		b.lose(c, err)
	}
}

// admit counts a call, unless the backend is closed.
func (b *isolated) admit() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.calls.Add(1)
	return true
}

// Close implements [backends.KeyBackend].
func (b *isolated) Close() error {
	b.closing.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			b.calls.Wait()
		}()
		timer := time.NewTimer(b.pace.closing)
		defer timer.Stop()
		select {
		case <-drained:
		case <-timer.C:
			b.log.Warn("closed while calls hang in the module")
		}
		close(b.stop)
		b.cancel()
	})
	b.done.Wait()
	return nil
}
