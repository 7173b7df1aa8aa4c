//go:build cgo && unix

package pkcs11

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// hsmToken is where the token was found: good for one epoch of one generation
// of the module.
type hsmToken struct {
	epoch      uint64 // counts how often this backend found its token
	generation uint64
	slot       uint
	info       p11.TokenInfo
}

// link keeps one backend joined to its token. Its goroutine, run, is the only
// one that finds slots and has the module initialised; it starts at once when
// the token is lost, and then tries with growing pauses until it is back.
type link struct {
	module *module
	filter tokenFilter
	pace   pace
	log    *slog.Logger
	stop   chan struct{} // closed by Close
	wake   chan struct{} // one place: the token was lost

	anchor   p11.SessionHandle // run's own: keeps the login while the pool has no session
	anchored bool

	current atomic.Pointer[hsmToken] // where the token is; nil while it is lost
	proved  atomic.Uint64            // the epoch in which a call last succeeded

	mu      sync.Mutex
	last    hsmToken      // where the token was last, with the newest generation seen
	streak  int           // attempts since the last one that a call proved good
	reason  error         // why it is lost
	ended   chan struct{} // closed when the attempt under way ends
	patient time.Time     // callers wait for the attempt under way until then
	next    time.Time     // when the next attempt starts
}

func newLink(m *module, filter tokenFilter, p pace, log *slog.Logger) *link {
	return &link{
		module: m, filter: filter, pace: p, log: log,
		stop: make(chan struct{}), wake: make(chan struct{}, 1),
		reason: errors.New("the token is being looked for"),
		ended:  make(chan struct{}), patient: time.Now().Add(p.firstWait),
	}
}

// await returns where the token is. While the first attempt to find it is under
// way it waits for that; later it fails at once, saying when to come back.
func (l *link) await(ctx context.Context) (*hsmToken, error) {
	for {
		if token := l.current.Load(); token != nil {
			return token, nil
		}
		l.mu.Lock()
		ended, reason := l.ended, l.reason
		wait, next := time.Until(l.patient), time.Until(l.next)
		l.mu.Unlock()
		if wait <= 0 || ended == nil {
			return nil, unavailable(reason, max(next, l.pace.backoffMin/2))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ended:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-l.stop:
			timer.Stop()
			return nil, &backends.Error{Kind: backends.ErrClosed}
		}
		timer.Stop()
	}
}

func unavailable(reason error, retryAfter time.Duration) error {
	kind, _ := judge(reason)
	return &backends.Error{Kind: kind, RetryAfter: retryAfter, Err: reason}
}

// prove notes that a call succeeded in the epoch, so that the next loss is a
// new one and is mended at once.
func (l *link) prove(epoch uint64) {
	if l.proved.Load() < epoch {
		l.proved.Store(epoch)
	}
}

// lose takes the link down if the epoch is still the current one.
func (l *link) lose(epoch uint64, reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token := l.current.Load(); token == nil || token.epoch != epoch {
		return
	}
	l.current.Store(nil)
	l.reason = reason
	if l.proved.Load() == epoch {
		l.streak = 0
	}
	now := time.Now()
	l.next, l.ended, l.patient = now, make(chan struct{}), now.Add(l.pace.firstWait)
	if l.streak > 1 {
		// Found and lost again without one success: no use in hurrying.
		l.next, l.ended = now.Add(l.pace.backoff(l.streak-1)), nil
	}
	select {
	case l.wake <- struct{}{}:
	default: // run has not yet seen the last one
	}
	l.log.Warn("hsm token lost", "error", reason, "retry_in", time.Until(l.next).Round(time.Millisecond))
}

// run finds the token and keeps it until stop.
func (l *link) run() {
	defer l.closeAnchor()
	for {
		l.mu.Lock()
		up, pause := l.current.Load() != nil, time.Until(l.next)
		l.mu.Unlock()
		if up {
			pause = l.pace.keepalive
		}
		timer := time.NewTimer(pause)
		select {
		case <-l.stop:
			timer.Stop()
			return
		case <-l.wake:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if up {
			l.keepAlive()
		} else {
			l.attempt()
		}
	}
}

// attempt looks for the token once and publishes what came of it.
func (l *link) attempt() {
	l.module.part(l)
	token, err := l.find()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.streak++
	if err != nil {
		l.reason = err
		l.next = time.Now().Add(l.pace.backoff(l.streak - 1))
		l.log.Warn("hsm token not found", "error", err, "retry_in", time.Until(l.next).Round(time.Millisecond))
	} else {
		token.epoch = l.last.epoch + 1
		l.last = token
		l.module.join(l, token)
		l.current.Store(&token)
		l.log.Info("hsm token found", "token", token.info.Label, "serial", token.info.SerialNumber, "slot", token.slot)
	}
	if l.ended != nil {
		close(l.ended)
		l.ended = nil
	}
}

// find has the module initialised where needed, finds the slot by what the
// token says of itself and opens the anchor session.
func (l *link) find() (hsmToken, error) {
	l.closeAnchor()
	generation, err := l.module.renew(l, l.seen(), l.pace.drain, l.stop)
	if err != nil {
		return hsmToken{}, err
	}
	// Remembered whatever comes: if nothing is found, the next attempt must not
	// take this generation for one it has not seen.
	l.mu.Lock()
	l.last.generation = generation
	l.mu.Unlock()
	if err := l.module.enter(generation); err != nil {
		return hsmToken{}, err
	}
	defer l.module.leave()
	token, err := findToken(l.module.ctx, l.filter)
	if err != nil {
		return hsmToken{}, err
	}
	token.generation = generation
	if token.info.MaxSessionCount != 1 {
		if err := l.openAnchor(token); err != nil {
			return hsmToken{}, err
		}
	}
	return token, nil
}

// findToken finds the one token that the filter fits.
func findToken(ctx *p11.Ctx, filter tokenFilter) (hsmToken, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return hsmToken{}, calling("C_GetSlotList", err)
	}
	var found []hsmToken
	var broken error
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil {
			broken = calling("C_GetTokenInfo", err) // may be another token's trouble
		} else if filter.fits(slot, info) {
			found = append(found, hsmToken{slot: slot, info: info})
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return hsmToken{}, fail(backends.ErrKeyUnsuitable, "%d tokens fit the URI: add serial=%s or another of their serial numbers",
			len(found), escape(found[0].info.SerialNumber, pathLiteral))
	case broken != nil:
		return hsmToken{}, broken
	}
	return hsmToken{}, fail(backends.ErrUnavailable, "no token among %d fits the URI: "+
		"check token and serial against pkcs11-tool --list-token-slots", len(slots))
}

func (f tokenFilter) fits(slot uint, info p11.TokenInfo) bool {
	return info.Flags&p11.CKF_TOKEN_INITIALIZED != 0 &&
		(f.label == "" || f.label == info.Label) &&
		(f.serial == "" || f.serial == info.SerialNumber) &&
		(f.manufacturer == "" || f.manufacturer == info.ManufacturerID) &&
		(f.model == "" || f.model == info.Model) &&
		(f.slotID == "" || f.slotID == strconv.FormatUint(uint64(slot), 10))
}

// keepAlive touches the anchor session, so that neither the token nor a
// firewall on the way takes the application for gone.
func (l *link) keepAlive() {
	token := l.current.Load()
	if token == nil {
		return
	}
	if err := l.module.enter(token.generation); err != nil {
		l.lose(token.epoch, err)
		return
	}
	var err error
	if l.anchored {
		_, err = l.module.ctx.GetSessionInfo(l.anchor)
	}
	if _, step := judge(err); err != nil && step == rungSession {
		err = l.openAnchor(*token)
	}
	l.module.leave()
	if err != nil {
		l.lose(token.epoch, calling("keepalive", err))
	}
}

// seen is the newest generation in which this link looked for its token.
func (l *link) seen() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.generation
}

func (l *link) openAnchor(token hsmToken) error {
	anchor, err := l.module.ctx.OpenSession(token.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return calling("C_OpenSession", err)
	}
	l.anchor, l.anchored = anchor, true
	return nil
}

// closeAnchor closes the anchor session unless it died with its generation.
func (l *link) closeAnchor() {
	if l.anchored && l.module.enter(l.seen()) == nil {
		_ = l.module.ctx.CloseSession(l.anchor) // it may be dead
		l.module.leave()
	}
	l.anchored = false
}
