//go:build cgo && unix

package pkcs11

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// Open reads the URI, loads the module and looks for the token.
//
// What only the operator can mend fails here: the URI, a missing module, a
// missing or unsafe PIN file. A token that is merely not there does not: Open
// waits for the first attempt, at most until ctx ends, and the backend then
// keeps trying and answers [backends.ErrUnavailable] until the token is found.
func Open(ctx context.Context, uri string, log *slog.Logger) (backends.KeyBackend, error) {
	b, err := open(ctx, uri, log, defaultPace())
	if err != nil {
		return nil, named("open", "", err)
	}
	return b, nil
}

// prepare reads the URI and looks at the files that it names.
func prepare(uri string) (config, error) {
	c, err := parseURI(uri)
	if err != nil {
		return config{}, fail(backends.ErrUnavailable, "%w", err)
	}
	p, err := readPIN(c.pinSource)
	if err != nil {
		return config{}, err
	}
	p.wipe() // read again when it is needed, so that mending it needs no restart
	_, err = newPINState(c.pinState)
	return c, err
}

func open(ctx context.Context, uri string, log *slog.Logger, pace pace) (backends.KeyBackend, error) {
	c, err := prepare(uri)
	if err != nil {
		return nil, err
	}
	log = log.With("module", c.modulePath)
	if c.isolate {
		return openIsolated(ctx, c, log, pace)
	}
	b, err := openHere(c, modules.pinsOf(c.modulePath), log, pace)
	if err != nil {
		return nil, err
	}
	_, _ = b.link.await(ctx) // found or not, the backend is open
	return b, nil
}

// backend signs with the keys of one token.
type backend struct {
	module *module
	link   *link
	login  *login
	pool   *pool
	keys   keyring
	pace   pace
	log    *slog.Logger

	ecdsa  []*p11.Mechanism // CKM_ECDSA, as C_SignInit takes it
	signed atomic.Uint64    // signatures made, to tell a bad key from a bad device

	closing sync.Once
	closed  chan struct{} // closed when all is freed
}

// openHere opens the module in this process and starts to look for the token.
func openHere(c config, pins pinLedger, log *slog.Logger, pace pace) (*backend, error) {
	state, err := newPINState(c.pinState)
	if err != nil {
		return nil, err
	}
	m, err := modules.acquire(c)
	if err != nil {
		return nil, err
	}
	b := &backend{
		module: m,
		link:   newLink(m, c.token, pace, log),
		login:  &login{pins: pins, pinPath: c.pinSource, state: state},
		keys:   keyring{keys: map[string]*keyEntry{}},
		pace:   pace,
		log:    log,
		ecdsa:  []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)},
		closed: make(chan struct{}),
	}
	b.pool = newPool(m, b.login, c.maxSessions, pace)
	b.pool.wg.Go(b.link.run)
	return b, nil
}

// Describe implements [backends.KeyBackend].
func (b *backend) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	var k key
	err := b.call(ctx, id, func(s *session, want keyID) (err error) {
		k, err = b.keys.find(id, want, s)
		return err
	})
	if err != nil {
		return backends.KeyInfo{}, named("describe", id, err)
	}
	return backends.KeyInfo{PublicKey: k.public, CanonicalID: k.canonical}, nil
}

// Sign implements [backends.KeyBackend].
func (b *backend) Sign(ctx context.Context, id string, digest backends.Digest) (backends.Signature, error) {
	var sig backends.Signature
	err := b.call(ctx, id, func(s *session, want keyID) error {
		k, err := b.keys.get(id, want, s)
		if err != nil {
			return err
		}
		sig, err = b.sign(s, k, digest)
		return err
	})
	if err != nil {
		return backends.Signature{}, named("sign", id, err)
	}
	b.signed.Add(1)
	return sig, nil
}

// sign makes one signature. The session stays dirty if it fails half way.
func (b *backend) sign(s *session, k key, digest backends.Digest) (backends.Signature, error) {
	s.dirty = true
	if err := s.ctx.SignInit(s.handle, b.ecdsa, k.handle); err != nil {
		return backends.Signature{}, signing{calling("C_SignInit", err)}
	}
	if k.always {
		if err := b.login.tryPIN(s, p11.CKU_CONTEXT_SPECIFIC); err != nil {
			return backends.Signature{}, err
		}
	}
	raw, err := s.ctx.Sign(s.handle, digest[:])
	if err != nil {
		return backends.Signature{}, signing{calling("C_Sign", err)}
	}
	s.dirty = false
	sig, err := backends.SignatureFromRaw(raw)
	if err != nil {
		return backends.Signature{}, fail(backends.ErrSignatureInvalid, "C_Sign answered %d bytes: %w", len(raw), err)
	}
	return sig, nil
}

// Close implements [backends.KeyBackend].
func (b *backend) Close() error {
	b.closing.Do(func() {
		b.pool.close()
		close(b.link.stop)
		go func() {
			defer close(b.closed)
			b.pool.wg.Wait()
			b.module.part(b.link)
			b.module.release()
		}()
	})
	timer := time.NewTimer(b.pace.closing)
	defer timer.Stop()
	select {
	case <-b.closed:
	case <-timer.C:
		// Freed when the module returns, if it ever does.
		b.log.Warn("closed while calls hang in the module")
	}
	return nil
}
