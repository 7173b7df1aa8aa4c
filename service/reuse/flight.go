package reuse

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/signer"
)

// errPanic says that the making of a token ended without a result.
var errPanic = errors.New("reuse: panic")

// job is a token to be made and kept.
type job struct {
	sign  *signer.Signer
	draft claims.Draft
	now   clock.Reading
	at    place
}

// flight is the one signature for all who wait for a token.
type flight struct {
	sign       *signer.Signer
	background bool // nobody waited when it began

	landed chan struct{} // closed when made or err is set
	made   *entry
	err    error

	taken atomic.Bool // one of those who waited has the token as his own
}

// await has the token made, or waits until another's flight has brought it.
func (c *Cache) await(ctx context.Context, j job) (Token, error) {
	for tries := 0; ; tries++ {
		f, mine, err := c.board(ctx, j)
		if err != nil {
			return Token{}, err
		}
		select {
		case <-f.landed:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
		switch {
		case f.err == nil:
			if mine || f.made.serves(j.now, j.draft.MinRemaining()) {
				token := f.made.token
				token.Reused = !f.taken.CompareAndSwap(false, true)
				token.Own = mine
				return token, nil
			}
			// It began before this caller came, and he needs a younger one.
		case mine, tries > 0:
			return Token{}, f.err
		case f.sign == j.sign && !errors.Is(f.err, errPanic):
			return Token{}, f.err
		default:
			// It failed for a reason that need not be this caller's: another
			// configuration's signer was closed, or what was the first
			// caller's made it panic.
		}
	}
}

// board joins the flight that is under way, or begins one; mine says which. A
// token that landed since the caller looked comes as a flight of the past.
func (c *Cache) board(ctx context.Context, j job) (f *flight, mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[j.at]; ok {
		return f, false, nil
	}
	kept, ok := c.kept.GetIfPresent(j.at)
	if ok && kept.serves(j.now, j.draft.MinRemaining()) {
		past := &flight{sign: j.sign, landed: make(chan struct{}), made: kept}
		past.taken.Store(true)
		close(past.landed)
		return past, false, nil
	}
	if err := j.sign.Affords(ctx, j.draft.Key()); err != nil {
		return nil, false, err
	}
	f, err = c.begin(ctx, j, kept, false)
	return f, true, err
}

// refresh has a token made that replaces one that is handed out meanwhile.
func (c *Cache) refresh(ctx context.Context, j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, ok := c.kept.GetIfPresent(j.at)
	if _, flying := c.flights[j.at]; flying || !ok || !kept.ripe(j.now) {
		return // another caller was faster
	}
	_, _ = c.begin(ctx, j, kept, true) // it fails while the server stops alone
}

// begin starts a flight that may replace what is kept. The signature does not
// end with ctx: others may wait for it, and the token is kept. The caller holds
// mu.
func (c *Cache) begin(ctx context.Context, j job, kept *entry, background bool) (*flight, error) {
	if c.closed || !j.sign.Acquire() {
		return nil, &backends.Error{Op: "sign", Kind: backends.ErrClosed}
	}
	if kept != nil {
		kept.trying()
	}
	f := &flight{sign: j.sign, background: background, landed: make(chan struct{}), err: errPanic}
	c.flights[j.at] = f
	c.running.Add(1)
	go c.fly(context.WithoutCancel(ctx), j, f, kept)
	return f, nil
}

// fly makes the token, keeps it and tells those who wait.
func (c *Cache) fly(ctx context.Context, j job, f *flight, replaced *entry) {
	defer c.running.Done()
	defer j.sign.Release()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil { // its value may hold anything
			f.err = fmt.Errorf("%w of type %T", errPanic, p)
		}
		c.land(j, f, replaced, j.now.Mono+time.Since(began))
		if f.err != nil && f.background {
			c.log.WarnContext(ctx, "token not refreshed; the old one is handed out while it lasts",
				"profile", j.draft.Profile().Name, "error", f.err)
		}
	}()
	token, set, err := mint(ctx, j.sign, j.draft, j.now)
	if err == nil {
		f.made = newEntry(j.draft.Profile().Reuse, set, token, j.now, c.random)
	}
	f.err = err
}

// land ends a flight at a monotonic time.
func (c *Cache) land(j job, f *flight, replaced *entry, now time.Duration) {
	if f.made != nil {
		c.kept.Set(j.at, f.made) // before the flight is gone: who misses it finds the token
		if f.made.shared {
			c.prune(now)
		}
	}
	c.mu.Lock()
	delete(c.flights, j.at)
	if f.made == nil && replaced != nil {
		replaced.failed(now, c.random)
	}
	c.mu.Unlock()
	close(f.landed)
}

// prune drops the shared tokens that are past their life, those of profiles and
// keys that the configuration had once: nothing else pushes them out.
func (c *Cache) prune(now time.Duration) {
	for at, e := range c.kept.All() {
		if !e.shared || now-e.made < e.life {
			continue
		}
		c.kept.ComputeIfPresent(at, func(current *entry) (*entry, otter.ComputeOp) {
			if current != e { // made anew just now
				return nil, otter.CancelOp
			}
			return nil, otter.InvalidateOp
		})
	}
}

// mint makes a new token.
func mint(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Token, claims.Set, error) {
	sealed, set, err := seal(ctx, sign, draft, now)
	if err != nil {
		return Token{}, claims.Set{}, err
	}
	token, err := sealed.Open(ctx)
	return token, set, err
}

// seal makes a new token, and does not wait for its record.
func seal(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Sealed, claims.Set, error) {
	at, err := now.Time()
	if err != nil {
		return Sealed{}, claims.Set{}, err
	}
	set, err := draft.At(at)
	if err != nil {
		return Sealed{}, claims.Set{}, err
	}
	signed, err := sign.Seal(ctx, set)
	if err != nil {
		return Sealed{}, claims.Set{}, err
	}
	return Sealed{signed: signed, fresh: true, token: Token{
		JTI: set.JTI(), IssueTime: set.IssueTime(), ExpireTime: set.ExpireTime(), EndTime: set.EndTime(), RefreshTime: set.RefreshTime(),
	}}, set, nil
}
