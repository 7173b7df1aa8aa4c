package ledger

import (
	"cmp"
	"slices"
	"time"
)

// Alive are the tokens of one profile and key that can still be valid.
type Alive struct {
	Profile, KID string
	Count        int64
	Newest       time.Time // when the last of them ends
}

// series is what tokens are counted by.
type series struct{ profile, kid string }

// tally counts tokens by when they end, rounded up to a slot.
type tally struct {
	slots  map[int64]int64 // Unix time of a slot's end -> tokens
	newest time.Time
	pruned time.Time
}

// slot returns the end of the slot that an expiry falls into: minutes for what
// ends within a day, hours for the rest, so that no tally has more slots than
// ten years have hours.
func slot(now, end time.Time) int64 {
	width := time.Minute
	if end.Sub(now) > 24*time.Hour {
		width = time.Hour
	}
	return end.Add(width - 1).Truncate(width).Unix()
}

// Count counts a token that was minted now and can be valid until end. One
// without an end is not counted.
func (l *Ledger) Count(profile, kid string, now, end time.Time) {
	if end.IsZero() {
		return
	}
	l.aliveMu.Lock()
	defer l.aliveMu.Unlock()
	t := l.alive[series{profile, kid}]
	if t == nil {
		t = &tally{slots: map[int64]int64{}, pruned: now}
		l.alive[series{profile, kid}] = t
	}
	t.slots[slot(now, end)]++
	if end.After(t.newest) {
		t.newest = end
	}
	if now.Sub(t.pruned) > time.Hour {
		t.prune(now)
	}
}

func (t *tally) prune(now time.Time) {
	for end := range t.slots {
		if end < now.Unix() {
			delete(t.slots, end)
		}
	}
	t.pruned = now
}

// Alive returns the tokens that were minted since the start and can be valid at
// now, by profile and kid. A token counts for up to a minute longer than it is
// valid, and for up to an hour longer where it lives for more than a day.
func (l *Ledger) Alive(now time.Time) []Alive {
	l.aliveMu.Lock()
	defer l.aliveMu.Unlock()
	var all []Alive
	for by, t := range l.alive {
		t.prune(now)
		a := Alive{Profile: by.profile, KID: by.kid, Newest: t.newest}
		for _, n := range t.slots {
			a.Count += n
		}
		if a.Count > 0 {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b Alive) int {
		return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.KID, b.KID))
	})
	return all
}
