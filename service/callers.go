package service

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/jotsmith/jotsmith/service/authn"
)

const (
	// callerShards and shardCallers bound how many callers are counted.
	callerShards, shardCallers = 16, 64
	// maxCallerName is the longest name of one, in bytes. Longer ones are cut, and
	// two that begin alike count as one.
	maxCallerName = 512
	// noticed is one in how many requests of those who have no place gives one,
	// when all are taken: a crowd that comes once each costs little.
	noticed = 8
	// halveAfter is after how many counts of a shard what is long past weighs half.
	halveAfter = 1 << 16
)

// callers counts what each of the callers gets who ask most, whoever else comes
// and goes: the sketch is Space-Saving (Metwally, Agrawal and El Abbadi 2005),
// in which a newcomer takes the place of whoever asked least and begins with his
// weight. Whoever asks for more than one in shardCallers of his shard is kept.
// What he got before he was noticed is not counted.
type callers struct {
	seed   maphash.Seed
	shards [callerShards]callerShard
}

// callerShard is the callers whose names have a hash.
type callerShard struct {
	mu      sync.Mutex
	places  map[string]int // of those in counts, by name
	counts  []callerCount
	weights []uint32 // of those in counts
	seen    int      // since the weights were halved
	missed  int      // of those who had no place
}

// callerCount is what a caller got since he was noticed.
type callerCount struct {
	name                   string
	minted, reused, failed int64
}

func newCallers() *callers {
	c := &callers{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].places = map[string]int{}
	}
	return c
}

// token counts a token that a caller gets.
func (c *callers) token(caller authn.Caller, reused bool) {
	c.count(caller, func(counts *callerCount) {
		if reused {
			counts.reused++
		} else {
			counts.minted++
		}
	})
}

// failure counts a request of a caller that failed.
func (c *callers) failure(caller authn.Caller) {
	c.count(caller, func(counts *callerCount) { counts.failed++ })
}

// count counts something for a caller, who is not nobody.
func (c *callers) count(caller authn.Caller, add func(*callerCount)) {
	if !caller.Known() {
		return
	}
	name := caller.String()
	shard := &c.shards[maphash.String(c.seed, name)%callerShards]
	if len(name) > maxCallerName {
		name = strings.Clone(bounded(name, maxCallerName))
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	place, ok := shard.places[name]
	if !ok {
		if shard.missed++; len(shard.counts) == shardCallers && shard.missed%noticed != 0 {
			return
		}
		place = shard.notice(name)
	}
	shard.weights[place]++
	add(&shard.counts[place])
	if shard.seen++; shard.seen >= halveAfter {
		shard.seen = 0
		for i := range shard.weights {
			shard.weights[i] /= 2
		}
	}
}

// notice gives a newcomer a place. The caller holds mu.
func (s *callerShard) notice(name string) (place int) {
	if len(s.counts) < shardCallers {
		place = len(s.counts)
		s.counts, s.weights = append(s.counts, callerCount{}), append(s.weights, 0)
	} else {
		for i, weight := range s.weights {
			if weight < s.weights[place] {
				place = i
			}
		}
		delete(s.places, s.counts[place].name)
	}
	s.counts[place] = callerCount{name: name}
	s.places[name] = place
	return place
}

// list returns the callers that are counted, first those who got most.
func (c *callers) list() []callerCount {
	var all []callerCount
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		all = append(all, shard.counts...)
		shard.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b callerCount) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.name, b.name))
	})
	return all
}

func (c *callerCount) total() int64 { return c.minted + c.reused + c.failed }
