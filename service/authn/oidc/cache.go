package oidc

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/jotsmith/jotsmith/service/authn"
)

const (
	maxKept    = 5 * time.Minute // for how long a verified token is not verified again
	generation = 1024            // tokens in each half of the cache
)

// entry is a verified token.
type entry struct {
	caller authn.Caller
	issuer *issuer
	key    *key
	until  time.Time
}

// cache remembers verified tokens by their SHA-256 digests: a caller sends the
// same one with each call. Only what was verified gets in, so strangers fill
// nothing. Of its two halves the older is dropped when the newer is full.
type cache struct {
	mu         sync.Mutex
	newer, old map[[sha256.Size]byte]entry
}

func newCache() *cache { return &cache{newer: map[[sha256.Size]byte]entry{}} }

func (c *cache) get(digest [sha256.Size]byte, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.newer[digest]
	if !ok {
		if e, ok = c.old[digest]; ok && now.Before(e.until) {
			c.add(digest, e)
		}
	}
	if !ok || !now.Before(e.until) {
		return entry{}, false
	}
	return e, true
}

func (c *cache) put(digest [sha256.Size]byte, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(digest, e)
}

func (c *cache) add(digest [sha256.Size]byte, e entry) {
	if len(c.newer) >= generation {
		c.old, c.newer = c.newer, map[[sha256.Size]byte]entry{}
	}
	c.newer[digest] = e
}
