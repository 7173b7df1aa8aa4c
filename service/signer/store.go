package signer

import (
	"context"
	"sync/atomic"
)

// store is a key store with its gate: so many calls inside, so many waiting.
type store struct {
	Store
	slots   chan struct{}
	waiting atomic.Int64
	leave   func()
}

func newStore(cfg Store) *store {
	s := &store{Store: cfg, slots: make(chan struct{}, cfg.MaxInFlight)}
	s.leave = func() { <-s.slots }
	return s
}

// enter waits for a turn, at most until ctx ends, and returns how to leave.
// When too many wait already it fails at once with ErrOverloaded.
func (s *store) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
		return s.leave, nil
	default:
	}
	if s.waiting.Add(1) > int64(s.MaxQueue) {
		s.waiting.Add(-1)
		return nil, ErrOverloaded
	}
	defer s.waiting.Add(-1)
	select {
	case s.slots <- struct{}{}:
		return s.leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
