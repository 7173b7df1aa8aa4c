package jotsmith

import (
	"time"
)

// reading is a moment by both clocks of this machine.
type reading struct{ at time.Time }

func readClock() reading { return reading{time.Now()} }

// age is how long before now r was. The monotonic clock cannot be set, and stands
// still while a laptop sleeps; the other runs on, and can be set. The longer of the
// two is never too short, unless a clock is set back in its sleep.
func (r reading) age(now reading) time.Duration {
	return max(now.at.Sub(r.at), now.at.Round(0).Sub(r.at.Round(0)))
}

// after is a reading so much later, but not later than now.
func (r reading) after(d time.Duration, now reading) reading {
	if later := (reading{r.at.Add(max(d, 0))}); later.at.Before(now.at) {
		return later
	}
	return now
}

// lifetime is how long a token lasts, in durations of the server's since it was
// asked for, which was before the server answered.
type lifetime struct {
	asked           reading
	refreshes, ends bool
	refresh, expire time.Duration
}

// fresh says that the token is the one to have, with atLeast of its life left.
func (l lifetime) fresh(now reading, atLeast time.Duration) bool {
	return l.refreshes && l.asked.age(now) < l.refresh && l.lasts(now, atLeast)
}

// margin is how long a token may be used that the server should have replaced but
// cannot: to the middle of the time between its refresh and its end, so that as a
// rule a sixth of its life is left. Of a token without end nobody knows how long
// its consumer takes it, so it has none.
func (l lifetime) margin() time.Duration {
	if !l.refreshes || !l.ends {
		return l.refresh
	}
	return l.refresh + max(l.expire-l.refresh, 0)/2
}

// usable says that the token may stand in while the server is away.
func (l lifetime) usable(now reading, atLeast time.Duration) bool {
	return l.refreshes && l.asked.age(now) < l.margin() && l.lasts(now, atLeast)
}

// lasts says whether atLeast of its life is left; 0 asks for nothing.
func (l lifetime) lasts(now reading, atLeast time.Duration) bool {
	return atLeast <= 0 || l.ends && l.expire-l.asked.age(now) >= atLeast
}
