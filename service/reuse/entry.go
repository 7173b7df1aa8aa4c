package reuse

import (
	"encoding/binary"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/signer"
)

// place is where a token is kept. Tokens of two versions of a key have two, so
// that neither takes the other's away while a new configuration comes into use.
type place struct {
	identity string // of the draft
	version  signer.Version
}

// entry is a token that is kept. Its age is told by monotonic time, so that a
// step of the wall clock makes no token older or younger than it is.
type entry struct {
	token  Token
	shared bool

	made   time.Duration // monotonic time of the minting
	steps  clock.Steps   // of the clock, up to then
	life   time.Duration // how long verifiers accept it, from made on
	last   time.Duration // how long it is handed out, from made on
	soft   time.Duration // when a new one is sought, from made on
	minAge time.Duration // when a new one may be made, from made on
	window time.Time     // with a grid: when the next window begins, which is then soft and minAge

	// nextTry is the monotonic time, in nanoseconds, before which no refresh
	// is tried; it is written under Cache.mu.
	nextTry  atomic.Int64
	failures int // refreshes that failed, one after the other; guarded by Cache.mu
}

// newEntry keeps a token minted at now from set.
func newEntry(reuse claims.Reuse, set claims.Set, token Token, now clock.Reading, random io.Reader) *entry {
	wall, _ := now.Time() // it was trusted when set was made of it
	token.Digest, token.Holders = token.Compact.Digest(), &Holders{most: maxHolders}
	if reuse.Mode == claims.Shared {
		token.Holders.most = maxSharedHolders
	}
	e := &entry{
		token: token, shared: reuse.Mode == claims.Shared,
		made: now.Mono, steps: now.Steps,
		life: set.EndTime().Sub(wall),
		last: set.LastHandout().Sub(wall),
	}
	if reuse.Grid > 0 {
		e.window = set.RefreshTime()
	} else {
		e.minAge = reuse.MinAge
		e.soft = max(jittered(e.life/2, e.life/10, random), e.minAge)
		e.last = max(e.last, e.minAge) // iat has no fraction of a second, by which last can be the earlier
	}
	return e
}

// serves says whether the token may be handed out to one who looked at the
// clock at now and for whom it has to be valid for atLeast.
func (e *entry) serves(now clock.Reading, atLeast time.Duration) bool {
	age := now.Mono - e.made
	switch {
	case age < 0: // made since he looked
		return true
	case e.steps.Forward != now.Steps.Forward, !e.shared && e.steps.Backward != now.Steps.Backward:
		return false
	case age >= e.last:
		return false
	}
	return e.life-age >= atLeast || e.shared && e.early(now)
}

// early says whether it is too early for another shared token, whatever a
// caller asks for.
func (e *entry) early(now clock.Reading) bool {
	if e.window.IsZero() {
		return now.Mono-e.made < e.minAge
	}
	wall, err := now.Time()
	return err == nil && wall.Before(e.window)
}

// ripe says whether a new token should be sought now. With a grid that is told
// by the wall clock, as iat is: a little early, and the new token would be of
// the same window again.
func (e *entry) ripe(now clock.Reading) bool {
	if e.window.IsZero() {
		if now.Mono-e.made < e.soft {
			return false
		}
	} else if wall, err := now.Time(); err != nil || wall.Before(e.window) {
		return false
	}
	return int64(now.Mono) >= e.nextTry.Load()
}

// trying has nobody else seek a new token until failed says so.
func (e *entry) trying() { e.nextTry.Store(math.MaxInt64) }

// How long a refresh that failed is not tried again, at least and at most.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// failed puts the next refresh off, from the monotonic time at which this one
// failed. Each failure doubles the wait.
func (e *entry) failed(at time.Duration, random io.Reader) {
	wait := min(firstRetry<<min(e.failures, 8), lastRetry/3*2)
	e.failures++
	e.nextTry.Store(int64(at + jittered(wait, wait/2, random)))
}

// jittered returns a duration between d and d+spread, so that many servers do
// not come to one store together.
func jittered(d, spread time.Duration, random io.Reader) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil || spread <= 0 {
		return d
	}
	return d + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(spread))
}

// overhead is about what an entry takes beside its texts, with all holders that it may
// have.
const overhead = 768 + 128*maxHolders

// weigh says what an entry takes of the cache. Shared ones are free and so
// never pushed out: there is one for each such profile, and one that was gone
// would be made anew too early.
func weigh(at place, e *entry) uint32 {
	if e.shared {
		return 0
	}
	return uint32(min(len(at.identity)+len(e.token.Compact.Reveal())+overhead, math.MaxUint32))
}
