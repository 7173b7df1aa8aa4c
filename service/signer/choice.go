package signer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/backends"
)

// MaxMembers is the most members that a key can have.
const MaxMembers = 8

// How long a member among several is waited for while another could still be
// asked: four times as long as it took lately, and never so short that a
// collection of garbage, a lost packet or a new connection looks like silence.
const (
	slowest = 4
	minSlow = 250 * time.Millisecond
)

// When a member is out of use that does not answer all calls: each call without
// an answer counts as ten that have one, and three such calls are too many.
const (
	noAnswer   = 10
	tooSilent  = 3 * noAnswer
	someAnswer = -1
)

// signSomewhere has a member sign a digest: the one to ask first or, where it
// cannot, the next, as long as there is time. Who was cut short is asked once
// more when there is nobody else. It never asks two at once, which would double
// the load on the stores just when they have too much of it, and no other after
// a signature that is wrong.
func (k *key) signSomewhere(ctx context.Context, t turn) (backends.Signature, error) {
	if len(k.members) == 1 {
		return k.members[0].sign(ctx, t)
	}
	t.limit = k.limit(ctx)
	var order [2 * MaxMembers]*member
	members := k.order(order[:0])
	n := len(members)
	var faults nowhere
	for i := 0; i < len(members); i++ {
		if latched := k.latched.Load(); latched != nil { // by another call
			return backends.Signature{}, latched
		}
		m, again := members[i], i >= n
		t.patience = m.patience(time.Until(t.limit), members[i+1:], again)
		signature, err := m.sign(ctx, t)
		if err == nil {
			return signature, nil
		}
		if ctx.Err() != nil || isAny(err, backends.ErrSignatureInvalid, backends.ErrClosed) {
			return backends.Signature{}, err
		}
		faults.add(m, err)
		if time.Until(t.limit) <= 0 {
			break
		}
		if !again && t.patience > 0 && isAny(err, errNoAnswer, ErrOverloaded) {
			members = append(members, m)
		}
	}
	return backends.Signature{}, faults.err()
}

// admit gives a call of a caller a place in the store that would be asked first
// and has one, or ErrOverloaded. Where no store can be asked there is none, and
// whoever signs without one hears why.
func (k *key) admit(caller string) (*place, error) {
	var order [2 * MaxMembers]*member
	var refused error
	for _, m := range k.order(order[:0]) {
		at, err := m.store.admit(caller)
		if err == nil {
			return at, nil
		}
		m.store.failed(err)
		refused = err
	}
	return nil, refused
}

// order appends whom to ask, one after the other: who can sign, the first of them
// first; then who throttles; then who could not sign last.
func (k *key) order(members []*member) []*member {
	first := k.preferred()
	if first >= 0 {
		members = append(members, k.members[first])
	}
	var now [MaxMembers]standing // a member has but one, whatever happens to it meanwhile
	for i, m := range k.members {
		now[i] = m.standing()
	}
	for want := range barred {
		for i, m := range k.members {
			if i != first && now[i] == want {
				members = append(members, m)
			}
		}
	}
	return members
}

// standing is how willingly a member is asked.
type standing int

const (
	able   standing = iota // it can sign
	spared                 // it throttles
	failed                 // it could not sign last
	barred                 // it cannot be asked
)

func (m *member) standing() standing {
	switch {
	case !m.askable():
		return barred
	case m.fault.Load() != nil:
		return failed
	case m.rests.Load() > int64(m.key.age()):
		return spared
	}
	return able
}

// preferred returns the place of the member to ask first, of those that can
// sign: the near one. Two that are about as near come in the order of the
// configuration, and who is asked first stays so until another is nearer by
// half, so that a little more or less of latency moves nothing. -1 is none.
func (k *key) preferred() int {
	before := int(k.first.Load())
	first := before
	if k.members[first].standing() != able {
		first = -1
	}
	for i, m := range k.members {
		if i != first && m.standing() == able && (first < 0 || m.goesBefore(k.members[first], i < first)) {
			first = i
		}
	}
	if first >= 0 && first != before {
		k.first.CompareAndSwap(int32(before), int32(first))
	}
	return first
}

// goesBefore says whether the member takes the first turn from another. One that
// stands before the other in the configuration need not be nearer.
func (m *member) goesBefore(other *member, listedBefore bool) bool {
	mine, its := time.Duration(m.latency.Load()), time.Duration(other.latency.Load())
	if listedBefore {
		return mine <= its+its/4+time.Millisecond
	}
	return mine+mine/2+2*time.Millisecond < its
}

// took takes note of how long the store took. What is known from long ago counts
// less.
func (m *member) took(d time.Duration) {
	if m.silence.Load() > 0 {
		m.silence.Add(someAnswer) // below 0 by the number of callers at the most
	}
	if m.throttled.Load() > 0 {
		m.throttled.Store(0)
	}
	now := m.key.age()
	weight := int64(8)
	if now-time.Duration(m.answered.Swap(int64(now))) >= idleTest/2 {
		weight = 2
	}
	before := m.latency.Load()
	if before == 0 {
		before = int64(d)
	}
	m.latency.Store(before + (int64(d)-before)/weight) // of two at once either is as good
}

// silent says whether the store is to be taken for one that answers nobody, after
// a call that began then had no answer: when the call waited as long as any
// should and nobody else had an answer meanwhile, or when there were too many
// such calls of late. A call that had less time than the store takes says nothing
// of it: no caller puts a store out of use by being in a hurry.
func (m *member) silent(began time.Duration) bool {
	waited := m.key.age() - began
	if waited < m.usual() {
		return false
	}
	if m.silence.Add(noAnswer) >= tooSilent {
		return true
	}
	return waited >= m.slow() && time.Duration(m.answered.Load()) < began
}

// usual is how long the store may well take.
func (m *member) usual() time.Duration { return 2 * time.Duration(m.latency.Load()) }

// slow is after how long the store counts as silent.
func (m *member) slow() time.Duration {
	return max(slowest*time.Duration(m.latency.Load()), minSlow)
}

// patience is how much of the time that is left the member may use while others
// could still be asked: until it counts as silent, but not more than half of the
// time, or twice as long as it takes as a rule, and so that the next has its
// min_time. Where that is too little for it, it has all the time, which is 0, and
// nobody is asked after it.
//
// One that can sign, as far as is known, is not left early for others that could
// not, and nobody is who is asked again; one that could not sign last has its
// share and no more.
func (m *member) patience(left time.Duration, others []*member, again bool) time.Duration {
	if len(others) == 0 {
		return 0
	}
	next := others[0]
	usual := m.usual()
	d := max(left/2, usual)
	ill := m.fault.Load() != nil
	if ill {
		d, usual = left/time.Duration(len(others)+1), 0
	}
	if !again && (ill || next.fault.Load() == nil) {
		d = min(d, m.slow())
	}
	if info := next.info.Load(); info != nil && !info.InProcess {
		d = min(d, left-next.store.MinTime)
	}
	if d <= 0 || d < usual {
		return 0
	}
	return d
}

// nowhere is why no member signed.
type nowhere struct {
	why   error // that which may be over soonest
	first error
	all   []string // for the log; of several
}

func (n *nowhere) add(m *member, err error) {
	n.why = sooner(n.why, err)
	if n.first == nil {
		n.first = err
	}
	n.all = append(n.all, fmt.Sprintf("%s: %v", m.Store, err))
}

// err returns the only error as it is.
func (n *nowhere) err() error {
	switch len(n.all) {
	case 0: // all were latched just now
		return ErrNotReady
	case 1:
		return n.first
	}
	return &nowhere{why: n.why, all: n.all}
}

func (n *nowhere) Error() string { return strings.Join(n.all, "; ") }

// Unwrap gives what the caller is told.
func (n *nowhere) Unwrap() error { return n.why }

// sooner returns that of two reasons that may be over sooner; a for two that
// are alike.
func sooner(a, b error) error {
	if a == nil {
		return b
	}
	for _, kind := range []error{
		backends.ErrThrottled, ErrOverloaded, backends.ErrUnavailable, context.DeadlineExceeded, ErrNoTime, ErrNotReady,
	} {
		switch {
		case errors.Is(a, kind):
			return a
		case errors.Is(b, kind):
			return b
		}
	}
	return a
}
