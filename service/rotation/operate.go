package rotation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Report is a key with what is to come of it.
type Report struct {
	Name string
	Key
	Terms Terms
	Steps []Step
}

// Published returns the versions of a key that verifiers are to know, in the
// order in which they were first seen; nil for a key that has no versions.
func (k *Keeper) Published(key string) []Version {
	var published []Version
	for _, v := range k.view.Load().Keys[key].Versions {
		if v.Standing != Gone {
			published = append(published, v)
		}
	}
	return published
}

// Spent returns the kids of a key's versions that were published and are no
// longer: no token of theirs can be valid, or an operator has said that none is to
// be.
func (k *Keeper) Spent(key string) []string {
	known := k.view.Load().Keys[key]
	spent := slices.Collect(maps.Keys(known.Left))
	for _, v := range known.Versions {
		spent = slices.DeleteFunc(spent, func(kid string) bool { return kid == v.KID })
		if v.Standing == Gone {
			spent = append(spent, v.KID)
		}
	}
	slices.Sort(spent)
	return spent
}

// Reports returns every key that has versions, ordered by name.
func (k *Keeper) Reports() []Report {
	k.mu.Lock()
	rings := k.rings
	k.mu.Unlock()
	now, err := k.cfg.Now()
	if rings == nil || err != nil {
		return nil
	}
	terms := rings.Terms()
	var all []Report
	for _, name := range slices.Sorted(maps.Keys(terms)) {
		all = append(all, k.report(name, k.view.Load().Keys[name], terms[name], now))
	}
	return all
}

func (k *Keeper) report(name string, key Key, terms Terms, now time.Time) Report {
	return Report{name, key, terms, plan(key, terms, k.cfg.Known, now)}
}

// Rotate has a version of a key sign, or, with an empty kid, the one whose turn
// it is: as soon as every verifier knows it or, with force, now. dry returns what
// would come of it and changes nothing. The error is ErrNoVersion, ErrTooEarly,
// or why it could not be recorded or saved.
func (k *Keeper) Rotate(ctx context.Context, key, kid string, will Will, dry bool) (Report, error) {
	return k.operate(ctx, key, dry, func(now Key, terms Terms, at time.Time) (Key, []Change, error) {
		ordered, wanted, err := order(key, now, terms, kid, will, at)
		if err != nil {
			return now, nil, err
		}
		next, changes := advance(key, ordered, terms, k.cfg.Known, at)
		return next, append(wanted, changes...), nil
	})
}

// Drop takes a version back that is next or retired, and one whose tokens can be
// valid with force alone. Its errors are those of Rotate.
func (k *Keeper) Drop(ctx context.Context, key, kid string, will Will, dry bool) (Report, error) {
	return k.operate(ctx, key, dry, func(now Key, terms Terms, at time.Time) (Key, []Change, error) {
		return drop(key, now, terms, k.cfg.Known, kid, will, at)
	})
}

// operate makes a change to one key that an operator wants.
func (k *Keeper) operate(ctx context.Context, name string, dry bool, edit func(Key, Terms, time.Time) (Key, []Change, error)) (Report, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rings == nil {
		return Report{}, fmt.Errorf("%w: no configuration answers yet", ErrNoVersion)
	}
	terms, ok := k.rings.Terms()[name]
	if !ok {
		return Report{}, fmt.Errorf("%w: key %q has no versions in the configuration", ErrNoVersion, name)
	}
	if err := k.follow(ctx); err != nil {
		return Report{}, err
	}
	if dry {
		now, err := k.cfg.Now()
		if err != nil {
			return Report{}, err
		}
		next, _, err := edit(k.view.Load().Keys[name], terms, now)
		return k.report(name, next, terms, now), err
	}
	err := k.change(ctx, func(state State, now time.Time) (State, []Change, error) {
		next := state.clone()
		key, changes, err := edit(next.Keys[name], terms, now)
		next.Keys[name] = key
		return next, changes, err
	})
	if err != nil {
		return Report{}, err
	}
	k.apply(k.rings)
	k.cfg.Changed()
	now, err := k.cfg.Now()
	return k.report(name, k.view.Load().Keys[name], terms, now), err
}
