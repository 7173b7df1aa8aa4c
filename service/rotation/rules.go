package rotation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// Settle is how long all servers and caches may take to follow a change:
	// longer than a server looks for changes of others, and than a signature
	// that was under way at the change may take.
	Settle = 5 * time.Minute
	// Outage is how long a server signs with a version that was active when it
	// last could ask the Store.
	Outage = 24 * time.Hour
	// Skew is how far a verifier's clock may be behind: so much longer may it
	// take a token for valid.
	Skew = 5 * time.Minute
	// leftFor is how long the kids of versions are remembered that are published
	// no more: longer than whoever publishes elsewhere takes to notice.
	leftFor = 90 * 24 * time.Hour
)

// Errors of what an operator asks for.
var (
	ErrNoVersion = errors.New("no such version")
	ErrTooEarly  = errors.New("too early")
)

// Candidate is a version that the configuration has.
type Candidate struct {
	Place string // its backend and id
	KID   string // empty where it has not been read from its store yet
	SPKI  []byte // DER
	Able  bool   // it could sign when it was last asked
}

// Terms are what is configured for a key, and what its stores say of it.
type Terms struct {
	// Candidates are the configured versions, in the order in which they are to
	// follow one another.
	Candidates []Candidate
	// VerifierCache is the longest that a verifier, and the caches on the way to
	// it, keep the published keys. 0 is for consumers that are given each key by
	// other means before it signs, as vendors are.
	VerifierCache time.Duration
	// Every is how long a version signs before the next one does; 0 leaves it to
	// operators.
	Every time.Duration
	// Longest is the longest that a token of the key can be valid, by the limits
	// of its profiles, and Endless says that one of them sets no end.
	Longest time.Duration
	Endless bool
}

// Evidence is what a server knows of the tokens that it has signed.
type Evidence interface {
	// ID names the memory: another one has another name, and what it knows
	// begins with it.
	ID() string
	// End returns when the last token of a kid ends.
	End(kid string) (time.Time, bool)
}

// Change is a version that came to stand otherwise.
type Change struct {
	Key, KID string
	From, To Standing // From is empty for a version that was not known
	Will              // who wanted it; zero for the rules
	Ordered  bool     // it is to come about, and has not yet
}

// String says what changes, as in "next to active".
func (c Change) String() string {
	text := string(c.To)
	if c.From != "" {
		text = string(c.From) + " to " + text
	}
	if c.Ordered {
		text = "ordered: " + text
	}
	return text
}

// advance returns a key as it has to stand at now.
func advance(name string, k Key, terms Terms, known Evidence, now time.Time) (Key, []Change) {
	t := &turn{name: name, Key: k.clone(), terms: terms, known: known, now: now}
	t.adopt()
	t.activate()
	t.register()
	t.testify()
	t.expire()
	return t.Key, t.changes
}

// begin returns a key as it has to stand before a configuration answers: with a
// version that signs, and none more that is published.
func begin(name string, k Key, terms Terms, known Evidence, now time.Time) (Key, []Change, error) {
	t := &turn{name: name, Key: k.clone(), terms: terms, known: known, now: now}
	if active := t.active(); active != nil && t.terms.of(*active) == nil && !t.unread() {
		return k, nil, fmt.Errorf("key %s: its version %s signs, and the configuration has it no longer; have another sign first: jotsmith key rotate %s", name, active.KID, name)
	}
	if len(t.Versions) == 0 && len(terms.Candidates) > 0 {
		t.terms.Candidates = terms.Candidates[:1]
		t.adopt()
	}
	t.register()
	return t.Key, t.changes, nil
}

// turn is one application of the rules to one key.
type turn struct {
	Key
	name    string
	terms   Terms
	known   Evidence
	now     time.Time
	changes []Change
}

func (t *turn) move(v *Version, to Standing, will Will) {
	t.changes = append(t.changes, Change{t.name, v.KID, v.Standing, to, will, false})
	v.Standing = to
	switch to {
	case Active:
		v.Activated, v.Retired = t.now, time.Time{}
	case Retired:
		v.Retired = t.now
	case Gone:
		v.Gone = t.now
	case Next:
	}
}

// adopt publishes the versions that were not known, and forgets those that are
// not configured any more and need not be published. Of a key that is new the
// first version signs at once: there is no token yet that verifiers know by
// another.
func (t *turn) adopt() {
	for i, c := range t.terms.Candidates {
		if c.KID == "" {
			continue
		}
		if v := t.find(c.KID); v != nil {
			v.Place = c.Place
			continue
		}
		if len(t.Versions) == 0 && i > 0 {
			continue // the first is to sign, and has not been read yet
		}
		t.Versions = append(t.Versions, Version{KID: c.KID, SPKI: c.SPKI, Place: c.Place, Published: t.now})
		v := &t.Versions[len(t.Versions)-1]
		if len(t.Versions) == 1 {
			t.move(v, Active, Will{})
		} else {
			t.move(v, Next, Will{})
		}
	}
	if t.unread() { // it may be any of those that are known
		return
	}
	t.Versions = slices.DeleteFunc(t.Versions, func(v Version) bool {
		forgotten := (v.Standing == Next || v.Standing == Gone) && t.terms.of(v) == nil
		if forgotten {
			t.leave(v.KID)
		}
		return forgotten
	})
	maps.DeleteFunc(t.Left, func(_ string, when time.Time) bool { return t.now.Sub(when) > leftFor })
	if len(t.Left) == 0 {
		t.Left = nil // as it is when it is read
	}
	if t.Order != nil && t.find(t.Order.KID) == nil {
		t.Order = nil
	}
}

// leave remembers for a while that a kid is published no more.
func (t *turn) leave(kid string) {
	if t.Left == nil {
		t.Left = map[string]time.Time{}
	}
	t.Left[kid] = t.now
}

// register takes down that this server may sign with the active version, and for
// how long what it signs can be valid.
func (t *turn) register() {
	v := t.active()
	if v == nil {
		return
	}
	if !slices.Contains(v.Signers, t.known.ID()) {
		v.Signers = append(v.Signers, t.known.ID())
	}
	v.Longest = max(v.Longest, t.terms.Longest)
	v.Endless = v.Endless || t.terms.Endless
}

// activate has another version sign, where an order or the schedule says so.
func (t *turn) activate() {
	if t.Order != nil {
		v := t.find(t.Order.KID)
		if v.Standing == Active || v.Standing == Gone {
			t.Order = nil
		} else if !t.now.Before(t.Order.Time) && t.terms.Able(*v) {
			t.replace(v, t.Order.Will)
			t.Order = nil
		}
		return
	}
	active := t.active()
	if active == nil || t.terms.Every == 0 || t.now.Before(active.Activated.Add(t.terms.Every)) {
		return
	}
	if v := t.successor(); v != nil && t.terms.Able(*v) && !t.now.Before(t.terms.ready(*v)) {
		t.replace(v, Will{})
	}
}

// replace has v sign from now on.
func (t *turn) replace(v *Version, will Will) {
	if active := t.active(); active != nil {
		t.move(active, Retired, will)
	}
	t.move(v, Active, will)
}

// testify takes down until when tokens of retired versions are valid that this
// server has signed, when it signs no more of them.
func (t *turn) testify() {
	for i := range t.Versions {
		v := &t.Versions[i]
		mine := slices.Index(v.Signers, t.known.ID())
		if v.Standing != Retired || mine < 0 || t.now.Before(v.Retired.Add(Settle)) {
			continue
		}
		if end, ok := t.known.End(v.KID); ok && end.After(v.NewestEnd) {
			v.NewestEnd = end
		}
		v.Signers = slices.Delete(v.Signers, mine, mine+1)
	}
}

// expire takes the retired versions back of which no token can be valid.
func (t *turn) expire() {
	for i := range t.Versions {
		v := &t.Versions[i]
		if v.Standing != Retired {
			continue
		}
		if until, ok := v.needed(t.known); ok && !t.now.Before(until) {
			t.move(v, Gone, Will{})
		}
	}
}

// of returns what the configuration has of a version, nil for nothing.
func (t Terms) of(v Version) *Candidate {
	for i := range t.Candidates {
		if c := &t.Candidates[i]; c.KID == v.KID || c.KID == "" && c.Place == v.Place {
			return c
		}
	}
	return nil
}

// Able says whether a version is configured and could sign when it was last
// asked.
func (t Terms) Able(v Version) bool {
	c := t.of(v)
	return c != nil && c.Able
}

// unread says whether a version of the configuration has not been read yet and
// is none that was there before.
func (t *turn) unread() bool {
	return slices.ContainsFunc(t.terms.Candidates, func(c Candidate) bool { return c.KID == "" && t.at(c.Place) == nil })
}

// at returns the version that the configuration had last at a place.
func (t *turn) at(place string) *Version {
	for i := range t.Versions {
		if t.Versions[i].Place == place {
			return &t.Versions[i]
		}
	}
	return nil
}

// successor returns the version that signs after the active one: of those that
// are next the first in the configuration's order. nil is none.
func (t *turn) successor() *Version {
	for _, c := range t.terms.Candidates {
		if v := t.find(c.KID); v != nil && v.Standing == Next {
			return v
		}
	}
	return nil
}

// ready returns from when on every verifier knows a published version.
func (t Terms) ready(v Version) time.Time {
	if t.VerifierCache == 0 {
		return v.Published
	}
	return v.Published.Add(t.VerifierCache + Settle)
}

// needed returns until when a retired version has to be published. It is not
// known of a version that may have signed tokens without an end.
//
// What counts is when the last token ends that was signed. Only where a server
// may have signed and has not said until when, because it is away, has forgotten
// or cannot reach the Store, it is when its last token could end at the latest.
func (v Version) needed(known Evidence) (time.Time, bool) {
	if v.Endless {
		return time.Time{}, false
	}
	until := v.NewestEnd
	if end, ok := known.End(v.KID); ok && end.After(until) {
		until = end
	}
	if v.unsaid(known) {
		if latest := v.Retired.Add(Outage + v.Longest); latest.After(until) {
			until = latest
		}
	}
	until = until.Add(Skew)
	if settled := v.Retired.Add(Settle); settled.After(until) {
		until = settled
	}
	return until, true
}

// unsaid says whether another server than this has to say what it has signed.
func (v Version) unsaid(known Evidence) bool {
	return slices.ContainsFunc(v.Signers, func(id string) bool { return id != known.ID() })
}

// order notes that a version is to sign, as soon as every verifier knows it or,
// with force, now. An empty kid is that of the version whose turn it is.
func order(name string, k Key, terms Terms, kid string, will Will, now time.Time) (Key, []Change, error) {
	t := &turn{name: name, Key: k.clone(), terms: terms, now: now}
	v := t.find(kid)
	if kid == "" {
		if v = t.successor(); v == nil {
			return k, nil, fmt.Errorf("%w: key %s has none that is next; add one to its versions and reload", ErrNoVersion, name)
		}
	}
	switch {
	case v == nil || v.Standing == Gone || t.terms.of(*v) == nil:
		return k, nil, fmt.Errorf("%w: %q is no version of key %s that could sign", ErrNoVersion, kid, name)
	case v.Standing == Active:
		return k, nil, fmt.Errorf("%w: %q signs already", ErrNoVersion, v.KID)
	case !t.terms.Able(*v):
		return k, nil, fmt.Errorf("%w: %q cannot sign now; see jotsmith status", ErrTooEarly, v.KID)
	}
	at := now
	if ready := terms.ready(*v); ready.After(now) && !will.Force {
		at = ready
	}
	t.Order = &Order{v.KID, at, will}
	return t.Key, []Change{{name, v.KID, v.Standing, Active, will, true}}, nil
}

// drop takes a version back that is next or retired. One of which tokens can be
// valid is taken back with force alone.
func drop(name string, k Key, terms Terms, known Evidence, kid string, will Will, now time.Time) (Key, []Change, error) {
	t := &turn{name: name, Key: k.clone(), terms: terms, known: known, now: now}
	v := t.find(kid)
	if v == nil || v.Standing == Gone {
		return k, nil, fmt.Errorf("%w: %q is no version of key %s that is published", ErrNoVersion, kid, name)
	}
	switch v.Standing {
	case Active:
		return k, nil, fmt.Errorf("%w: %q signs; have another version sign first, or stop the key", ErrTooEarly, kid)
	case Retired:
		until, ended := v.needed(known)
		switch {
		case will.Force, ended && !now.Before(until):
		case !ended:
			return k, nil, fmt.Errorf("%w: %q has signed tokens that may be valid for ever; only force takes it back", ErrTooEarly, kid)
		default:
			return k, nil, fmt.Errorf("%w: tokens that %q has signed can be valid until %s", ErrTooEarly, kid, until.UTC().Format(time.RFC3339))
		}
	case Next, Gone:
	}
	t.move(v, Gone, will)
	if t.Order != nil && t.Order.KID == kid {
		t.Order = nil
	}
	return t.Key, t.changes, nil
}
