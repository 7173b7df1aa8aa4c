package oidc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	refreshAfter = 10 * time.Minute // the age at which keys are due, or twice min_refresh if that is more
	fetchTimeout = 10 * time.Second // for discovery and the JWK Set together
	maxUnknown   = 1024             // kids that are remembered as unknown, for each issuer
	maxWaiting   = 1024             // calls that wait for one fetch
	maxSets      = 64               // JWK Sets that are remembered over reloads
)

// Keys fetches and keeps the JWK Sets of issuers for the life of a server, over
// all its configurations. It asks when tokens come: an idle server asks
// nothing. Close it after the last call.
type Keys struct {
	now    func() time.Time
	random io.Reader
	log    *slog.Logger

	mu      sync.Mutex
	closed  bool
	sets    map[source]*keySet
	fetches sync.WaitGroup
}

// KeysConfig is what NewKeys needs.
type KeysConfig struct {
	Now    func() time.Time
	Random io.Reader // for jitter alone
	Log    *slog.Logger
}

// NewKeys returns Keys that have fetched nothing yet.
func NewKeys(cfg KeysConfig) *Keys {
	return &Keys{now: cfg.Now, random: cfg.Random, log: cfg.Log, sets: map[source]*keySet{}}
}

// Close ends the fetches under way and waits for them. No more begin.
func (k *Keys) Close() {
	k.mu.Lock()
	k.closed = true
	sets := k.sets
	k.sets = nil
	k.mu.Unlock()
	for _, set := range sets {
		set.stop()
	}
	k.fetches.Wait()
}

// source is where a JWK Set comes from and how often: what two configurations
// must have in common to share it.
type source struct {
	issuer, jwks, ca     string
	minRefresh, maxStale time.Duration
}

// set returns the JWK Set of an issuer, the one that is there already if there
// is one.
func (k *Keys) set(i Issuer) (*keySet, error) {
	from := source{i.URL, i.JWKSURL, string(i.CAPEM), i.MinRefresh, i.MaxStale}
	k.mu.Lock()
	defer k.mu.Unlock()
	if set, ok := k.sets[from]; ok {
		return set, nil
	}
	client, err := newClient(i.CAPEM)
	if err != nil {
		return nil, err
	}
	set := &keySet{owner: k, source: from, client: client, unknown: map[string]time.Time{}}
	if !k.closed {
		k.sets[from] = set
	}
	return set, nil
}

// forget drops JWK Sets that v does not use, where there are too many. Which is
// not at once: a configuration that comes back must not make the provider be
// asked again.
func (k *Keys) forget(v *Verifier) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for from, set := range k.sets {
		if len(k.sets) <= maxSets {
			return
		}
		if i := v.issuers[from.issuer]; i == nil || i.keys != set {
			delete(k.sets, from)
		}
	}
}

// begin counts a fetch, unless there are to be none any more.
func (k *Keys) begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.fetches.Add(1)
	}
	return !k.closed
}

// jitter is a number from 0 to 1.
func (k *Keys) jitter() float64 {
	var b [4]byte
	_, _ = io.ReadFull(k.random, b[:]) // without randomness there is no jitter, and no harm
	return float64(binary.BigEndian.Uint32(b[:])) / (1 << 32)
}

// keySet is the JWK Set of one issuer.
type keySet struct {
	source
	owner  *Keys
	client *http.Client

	mu        sync.Mutex
	keys      map[string][]*key // by kid
	fetched   time.Time         // when the keys were asked for; zero without any
	refreshAt time.Time         // when they are asked for again, ahead of need
	asked     time.Time         // when they were last asked for, in vain or not
	failed    bool              // in vain
	unknown   map[string]time.Time
	waiting   int
	running   chan struct{} // closed at the end of the fetch under way; nil without one
	cancel    context.CancelFunc

	discovery discovery // used by the fetch under way alone
}

// interval is the age at which keys are due.
func (s *keySet) interval() time.Duration { return max(refreshAfter, 2*s.minRefresh) }

var (
	errNoKeys   = errors.New("the issuer's keys could not be fetched")
	errOldKeys  = errors.New("the issuer's keys are too old, and newer ones could not be fetched")
	errNoKey    = errors.New("its kid is not among the issuer's keys")
	errTooMany  = errors.New("too many calls wait for the issuer's keys")
	errNoRedial = errors.New("redirected to another host, or too often")
)

// find returns the keys with a kid. It waits for a fetch where that can help;
// ctx ends the waiting and not the fetch, which others may wait for.
func (s *keySet) find(ctx context.Context, now time.Time, kid string) ([]*key, error) {
	wait, err := s.look(ctx, now, kid)
	if err != nil {
		return nil, err
	}
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait != nil {
		s.waiting--
	}
	switch {
	case err != nil:
		return nil, err
	case s.fetched.IsZero():
		return nil, errNoKeys
	case !s.serves(now):
		return nil, errOldKeys
	case len(s.keys[kid]) > 0:
		return s.keys[kid], nil
	case wait != nil && !s.failed: // the issuer has been asked, so there is no use in asking for it again
		if len(s.unknown) >= maxUnknown {
			clear(s.unknown)
		}
		s.unknown[kid] = now.Add(s.interval() / 2)
	}
	return nil, errNoKey
}

// look begins a fetch if one is due, or if the kid is not known. It returns
// what to wait for, counted as waiting, where the answer depends on it.
func (s *keySet) look(ctx context.Context, now time.Time, kid string) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.need(ctx, now, kid)
	if wait == nil {
		return nil, nil //nolint:nilnil // no need to wait, and no error
	}
	if s.waiting >= maxWaiting {
		return nil, errTooMany
	}
	s.waiting++
	return wait, nil
}

func (s *keySet) need(ctx context.Context, now time.Time, kid string) <-chan struct{} {
	known := len(s.keys[kid]) > 0
	fresh := !s.fetched.IsZero() && within(now, s.fetched, s.interval())
	switch {
	case fresh && known:
		if !now.Before(s.refreshAt) {
			s.start(ctx, now)
		}
		return nil
	case fresh && now.Before(s.unknown[kid]):
		return nil
	case known && s.failed && s.serves(now):
		s.start(ctx, now) // which is likely to fail again: nobody waits for it
		return nil
	}
	return s.start(ctx, now)
}

// within says whether now is less than d after a time, or before it: calls look
// at the clock before they come here, so one may be a little late, but a clock
// that was set back must not put off anything for ever.
func within(now, at time.Time, d time.Duration) bool {
	age := now.Sub(at)
	return -d < age && age < d
}

// serves says whether the keys are young enough to be used.
func (s *keySet) serves(now time.Time) bool {
	return !s.fetched.IsZero() && now.Before(s.fetched.Add(s.interval()+s.maxStale))
}

// still says whether a key is among the issuer's, as far as is known without
// waiting.
func (s *keySet) still(ctx context.Context, now time.Time, k *key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.need(ctx, now, k.kid) == nil && s.serves(now) &&
		slices.ContainsFunc(s.keys[k.kid], func(other *key) bool { return other.digest == k.digest })
}

// warm begins a fetch where there never was one.
func (s *keySet) warm(ctx context.Context) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fetched.IsZero() {
		return nil
	}
	return s.start(ctx, s.owner.now())
}

// start begins a fetch and returns what is closed at its end, or nil if the
// last one is too recent. A fetch under way is the one to wait for.
func (s *keySet) start(ctx context.Context, now time.Time) <-chan struct{} {
	if s.running != nil {
		return s.running
	}
	if !s.asked.IsZero() && within(now, s.asked, s.minRefresh) {
		return nil
	}
	if !s.owner.begin() {
		return nil
	}
	s.asked = now
	done := make(chan struct{})
	s.running = done
	ctx, s.cancel = context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go s.refresh(ctx, done)
	return done
}

// refresh fetches the keys. It ends within fetchTimeout, and is joined by
// Keys.Close.
func (s *keySet) refresh(ctx context.Context, done chan struct{}) {
	defer s.owner.fetches.Done()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err != nil; s.failed {
		s.owner.log.WarnContext(ctx, "keys of an issuer could not be fetched", "issuer", s.issuer, "error", err.Error())
	} else {
		s.owner.log.DebugContext(ctx, "keys of an issuer fetched", "issuer", s.issuer, "kids", len(keys))
		s.keys, s.fetched = keys, s.asked
		early := 0.7 + 0.1*s.owner.jitter()
		s.refreshAt = s.asked.Add(time.Duration(early * float64(s.interval())))
	}
	s.cancel()
	s.running = nil
	close(done)
}

// stop ends the fetch under way.
func (s *keySet) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.cancel()
	}
}
