//go:build cgo && unix

package pkcs11

import (
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// hsmToken is where the token was found, in one generation of the module. Each
// finding makes a new value: what was opened under another is dead.
type hsmToken struct {
	generation uint64
	slot       uint
	info       p11.TokenInfo
}

// link keeps one backend joined to its token. Its goroutine, run, is the only
// one that finds slots and has the module initialised.
type link struct {
	*presence[hsmToken]
	module *module
	filter tokenFilter
	log    *slog.Logger

	// Used by run alone.
	generation uint64            // the newest in which it looked for the token
	anchor     p11.SessionHandle // keeps the login while the pool has no session
	anchored   bool

	searching atomic.Int64 // when the attempt under way began, in Unix nanoseconds; 0 while there is none
}

func newLink(m *module, filter tokenFilter, p pace, log *slog.Logger) *link {
	return &link{
		presence: newPresence[hsmToken](p, errors.New("the token is being looked for")),
		module:   m, filter: filter, log: log,
	}
}

// run finds the token and keeps it until stop.
func (l *link) run() {
	defer l.closeAnchor()
	for l.due(l.pace.keepalive) {
		if l.current.Load() != nil {
			l.keepAlive()
		} else {
			l.attempt()
		}
	}
}

// lost tells the owner that the token is gone; the first to see it says why.
func (l *link) lost(token *hsmToken, reason error) {
	if retryIn, first := l.lose(token, reason); first {
		l.log.Warn("hsm token lost", "error", reason, "retry_in", retryIn)
	}
}

// attempt looks for the token once and publishes what came of it.
func (l *link) attempt() {
	l.searching.Store(time.Now().UnixNano())
	defer l.searching.Store(0)
	l.module.part(l)
	token, err := l.find()
	if err != nil {
		l.log.Warn("hsm token not found", "error", err, "retry_in", l.missed(err))
		return
	}
	l.module.join(l, token)
	l.found(token)
	l.log.Info("hsm token found", "token", token.info.Label, "serial", token.info.SerialNumber, "slot", token.slot)
}

// find has the module initialised where needed, finds the slot by what the
// token says of itself and opens the anchor session.
func (l *link) find() (*hsmToken, error) {
	l.closeAnchor()
	generation, err := l.module.renew(l, l.generation, l.pace.drain, l.stop)
	if err != nil {
		return nil, err
	}
	l.generation = generation
	if err := l.module.enter(generation); err != nil {
		return nil, err
	}
	defer l.module.leave()
	token, err := findToken(l.module.ctx, l.filter)
	if err != nil {
		return nil, err
	}
	token.generation = generation
	if token.info.MaxSessionCount != 1 {
		if err := l.openAnchor(token); err != nil {
			return nil, err
		}
	}
	return token, nil
}

// findToken finds the one token that the filter fits.
func findToken(ctx *p11.Ctx, filter tokenFilter) (*hsmToken, error) {
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return nil, calling("C_GetSlotList", err)
	}
	var found []*hsmToken
	var broken error
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil {
			broken = calling("C_GetTokenInfo", err) // may be another token's trouble
		} else if filter.fits(slot, info) {
			found = append(found, &hsmToken{slot: slot, info: info})
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fail(backends.ErrKeyUnsuitable, "%d tokens fit the URI: add serial=%s or another of their serial numbers",
			len(found), escape(found[0].info.SerialNumber, pathLiteral))
	case broken != nil:
		return nil, broken
	}
	return nil, fail(backends.ErrUnavailable, "no token among %d fits the URI: "+
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
		l.lost(token, err)
		return
	}
	var err error
	if l.anchored {
		_, err = l.module.ctx.GetSessionInfo(l.anchor)
	}
	if _, step := judge(err); err != nil && step == rungSession {
		err = l.openAnchor(token)
	}
	l.module.leave()
	if err != nil {
		l.lost(token, calling("keepalive", err))
	}
}

func (l *link) openAnchor(token *hsmToken) error {
	anchor, err := l.module.ctx.OpenSession(token.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return calling("C_OpenSession", err)
	}
	l.anchor, l.anchored = anchor, true
	return nil
}

// closeAnchor closes the anchor session unless it died with its generation.
func (l *link) closeAnchor() {
	if l.anchored && l.module.enter(l.generation) == nil {
		_ = l.module.ctx.CloseSession(l.anchor) // it may be dead
		l.module.leave()
	}
	l.anchored = false
}
