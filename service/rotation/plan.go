package rotation

import (
	"slices"
	"time"
)

// Step is a change that is to come.
type Step struct {
	KID string
	To  Standing
	// Time is when, as far as is known now; it is zero where that hangs on an
	// operator.
	Time time.Time
	Why  Why
}

// Why is what a step waits for.
type Why string

// What steps wait for.
const (
	WhyVerifiers Why = "verifiers" // until every verifier knows the version
	WhySchedule  Why = "schedule"  // until the active version has signed for as long as configured
	WhyOrder     Why = "order"     // until an operator says so
	WhyReplaced  Why = "replaced"  // until another version signs
	WhyTokens    Why = "tokens"    // until the last token that it signed has ended
	WhyLimit     Why = "limit"     // until the last token that it can have signed has ended
	WhyEndless   Why = "endless"   // its tokens have no end
	WhyStore     Why = "store"     // until its store can sign with it
	WhyVersion   Why = "version"   // until the configuration has a version that could follow
)

// plan returns the changes of a key that are to come, in their order.
func plan(k Key, terms Terms, known Evidence, now time.Time) []Step {
	t := &turn{Key: k, terms: terms, known: known, now: now}
	var steps []Step
	for _, v := range k.Versions {
		if v.Standing == Retired {
			steps = append(steps, t.end(v))
		}
	}
	next := t.successor()
	if k.Order != nil {
		next = t.find(k.Order.KID)
	}
	if active := t.active(); next == nil && active != nil && terms.Every > 0 {
		steps = append(steps, Step{active.KID, Retired, active.Activated.Add(terms.Every), WhyVersion})
	}
	if next != nil {
		begin := t.begin(*next)
		steps = append(steps, begin)
		if active := t.active(); active != nil {
			steps = append(steps, Step{active.KID, Retired, begin.Time, WhyReplaced})
			if !begin.Time.IsZero() && !active.Endless && !terms.Endless {
				last := begin.Time.Add(max(active.Longest, terms.Longest) + Skew)
				steps = append(steps, Step{active.KID, Gone, last, WhyLimit})
			}
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int {
		switch {
		case a.Time.IsZero() == b.Time.IsZero():
			return a.Time.Compare(b.Time)
		case a.Time.IsZero():
			return 1
		}
		return -1
	})
	return steps
}

// begin says when a version comes to sign.
func (t *turn) begin(v Version) Step {
	step := Step{KID: v.KID, To: Active}
	ready := t.terms.ready(v)
	active := t.active()
	switch {
	case !t.terms.Able(v):
		step.Why = WhyStore
	case t.Order != nil && t.Order.KID == v.KID:
		step.Time, step.Why = t.Order.Time, WhyVerifiers
	case t.terms.Every == 0 || active == nil:
		step.Why = WhyOrder
	case ready.After(active.Activated.Add(t.terms.Every)):
		step.Time, step.Why = ready, WhyVerifiers
	default:
		step.Time, step.Why = active.Activated.Add(t.terms.Every), WhySchedule
	}
	if !step.Time.IsZero() && step.Time.Before(t.now) {
		step.Time = t.now
	}
	return step
}

// end says when a retired version is taken back.
func (t *turn) end(v Version) Step {
	until, ok := v.needed(t.known)
	switch {
	case !ok:
		return Step{KID: v.KID, To: Gone, Why: WhyEndless}
	case v.unsaid(t.known):
		return Step{v.KID, Gone, until, WhyLimit}
	}
	return Step{v.KID, Gone, until, WhyTokens}
}
