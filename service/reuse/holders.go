package reuse

import (
	"sync"
)

// The most who are known to hold one token, and one that is shared, of which there are
// few. Whoever has no place is taken for one who gets it for the first time.
const (
	maxHolders       = 8
	maxSharedHolders = 1024
)

// Holder is who got a token: a caller, by a grant, under a configuration.
type Holder struct {
	Caller, Grant, Generation string
}

// Holders are those of whom the disk has confirmed that they got a token that is kept.
// That they get it again is no news. A nil Holders has none.
type Holders struct {
	most  int
	mu    sync.RWMutex
	known map[Holder]struct{}
}

// Has says whether a holder is known.
func (h *Holders) Has(who Holder) bool {
	if h == nil {
		return false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, ok := h.known[who]
	return ok
}

// Add makes a holder known, if there is a place.
func (h *Holders) Add(who Holder) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= h.most {
		return
	}
	if h.known == nil {
		h.known = map[Holder]struct{}{}
	}
	h.known[who] = struct{}{}
}
