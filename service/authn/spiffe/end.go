package spiffe

import (
	"context"
	"time"
)

const (
	// nearEnd is the part of an SVID's life that is left when its end is warned
	// of: agents bring the next one at half of it.
	nearEnd = 4
	// remindAfter is the least and the most time between two warnings.
	remindAtLeast, remindAtMost = time.Minute, time.Hour
)

// watchEnd warns when the end of the SVID comes near and no other has come, ever
// more often, and says when it is over, until ctx ends.
func (s *Source) watchEnd(ctx context.Context) {
	for {
		timer := time.NewTimer(s.remind(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// remind warns if that is due, and returns how long until it may be again.
func (s *Source) remind(now time.Time) time.Duration {
	s.mu.Lock()
	if s.svid == nil {
		s.mu.Unlock()
		return remindAtMost // or until the first comes
	}
	over := s.svid.Certificates[0].NotAfter
	due, left := !now.Before(s.warned), over.Sub(now)
	fault := s.fault
	if due {
		next := min(max(left/2, remindAtLeast), remindAtMost)
		if left > 0 && next > left {
			next = left + time.Millisecond // to be heard of its end at once
		}
		s.warned = now.Add(next)
	}
	wait := s.warned.Sub(now)
	s.mu.Unlock()
	if !due {
		return wait
	}
	if fault == nil {
		fault = errLate
	}
	if left > 0 {
		s.log.Warn("the SVID is near its end", "expire_time", over, "error", fault)
		return wait
	}
	s.log.Error("the SVID has expired; no client certificate is accepted until the SPIFFE agent gives another", "expire_time", over, "error", fault)
	s.onChange()
	return wait
}
