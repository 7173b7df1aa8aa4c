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
	Newest       time.Time // when the last of them ends, or up to two minutes later
}

// series is what tokens are counted by.
type series struct{ profile, kid string }

// tally counts tokens by when they end, rounded up to a slot.
type tally struct {
	slots     map[int64]int64 // Unix time of a slot's end -> tokens
	newest    time.Time       // when the last token ends
	promised  time.Time       // no token ends after it that the disk does not know of
	promising time.Time       // what promised will be when the write that is under way has ended
	pruned    time.Time
}

// valid says whether the tally can be one.
func (t *tally) valid() bool {
	if t.slots == nil {
		t.slots = map[int64]int64{}
	}
	for _, n := range t.slots {
		if n < 0 {
			return false
		}
	}
	return true
}

// slot returns the end of the slot that an end falls into: minutes for what
// ends within a day, hours for the rest, so that no tally has more slots than
// ten years have hours.
func slot(now, end time.Time) int64 {
	width := time.Minute
	if end.Sub(now) > 24*time.Hour {
		width = time.Hour
	}
	return end.Add(width - 1).Truncate(width).Unix()
}

func (t *tally) add(now, end time.Time) {
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

// Alive returns the tokens that can be valid at now, by profile and kid. A token
// counts for up to a minute longer than it is valid, and for up to an hour
// longer where it lives for more than a day. A server that was killed has
// forgotten how many it signed in its last minute, and not until when they are
// valid.
func (l *Ledger) Alive(now time.Time) []Alive {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Alive
	for by, t := range l.series {
		if t.newest.Before(now) {
			continue
		}
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
