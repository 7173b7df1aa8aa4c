package rotation

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pollEvery is how often the Store is looked at for the changes of others,
	// and the rules are applied.
	pollEvery = 10 * time.Second
	// storeTime is how long the Store may take.
	storeTime = 10 * time.Second
	// saves is how often a change is tried against those of others.
	saves = 5
)

// Rings are the keys of one configuration that have versions.
type Rings interface {
	// Terms returns what there is to know of each, by name.
	Terms() map[string]Terms
	// Activate has a version of a key sign from the next signature on, and no
	// other. An empty kid has none sign.
	Activate(key, kid string)
}

// Config is what Open needs.
type Config struct {
	Store Store
	Known Evidence
	Now   func() (time.Time, error) // an error where the clock cannot be trusted
	Log   *slog.Logger
	// Record takes a change down before it is made; what it refuses is not done.
	Record func(ctx context.Context, change Change) error
	// Changed is called after what signs, or what is published, is another.
	Changed func()
}

// Keeper has the rules applied to the keys of the configuration that answers. It
// is safe for concurrent use.
type Keeper struct {
	cfg   Config
	view  atomic.Pointer[State] // what was loaded or saved last
	asked chan struct{}

	mu       sync.Mutex // one change at a time
	revision Revision
	seen     time.Time // when the Store answered last
	rings    Rings     // of the configuration that answers; nil before the first
}

// Open returns a Keeper of what the Store holds. Changed may be called from the
// first Adopt on.
func Open(ctx context.Context, cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, asked: make(chan struct{}, 1)}
	state, revision, err := cfg.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	k.revision = revision
	k.view.Store(&state)
	k.seen, err = cfg.Now()
	if err != nil {
		cfg.Log.WarnContext(ctx, "keys are not rotated", "error", err) // until the clock can be trusted
	}
	return k, nil
}

// At returns how the version of a key stands that was last at a place; it is
// empty for one that is not known. One that is gone, or retired, need not be in
// its store any more.
func (k *Keeper) At(key, place string) Standing {
	for _, v := range k.view.Load().Keys[key].Versions {
		if v.Place == place {
			return v.Standing
		}
	}
	return ""
}

// Prepare has the right version of each key of a configuration sign that does
// not answer yet. It publishes nothing, but for keys that are new. It fails where
// the configuration has no longer the version that signs.
func (k *Keeper) Prepare(ctx context.Context, rings Rings) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.follow(ctx); err != nil {
		return err
	}
	terms := rings.Terms()
	if err := k.change(ctx, func(state State, now time.Time) (State, []Change, error) {
		next := state.clone()
		var changes []Change
		for _, name := range slices.Sorted(maps.Keys(terms)) {
			key, moved, err := begin(name, next.Keys[name], terms[name], k.cfg.Known, now)
			if err != nil {
				return state, nil, err
			}
			next.Keys[name] = key
			changes = append(changes, moved...)
		}
		return next, changes, nil
	}); err != nil {
		return err
	}
	k.apply(rings)
	return nil
}

// Adopt takes up the keys of the configuration that answers from now on.
func (k *Keeper) Adopt(ctx context.Context, rings Rings) {
	k.mu.Lock()
	k.rings = rings
	k.mu.Unlock()
	k.tick(ctx)
}

// Ask has the rules applied soon, because a key may have become able to sign.
func (k *Keeper) Ask() {
	select {
	case k.asked <- struct{}{}:
	default:
	}
}

// Run applies the rules as time goes by, and follows the Store, until ctx ends.
// It returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-k.asked:
		}
		k.tick(ctx)
	}
}

// tick follows the Store and applies the rules. What cannot be done now is
// logged and tried again.
func (k *Keeper) tick(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rings == nil {
		return
	}
	before := k.view.Load()
	err := k.follow(ctx)
	if err == nil {
		err = k.change(ctx, func(state State, now time.Time) (State, []Change, error) {
			next, changes := k.turnAll(state, k.rings.Terms(), now)
			return next, changes, nil
		})
	}
	if err != nil && ctx.Err() == nil {
		k.cfg.Log.ErrorContext(ctx, "keys are not rotated", "error", err)
	}
	k.apply(k.rings)
	if k.view.Load() != before {
		k.cfg.Changed()
	}
}

// follow loads what others may have saved. A Store that has lost what it held
// is given it again. The caller holds mu.
func (k *Keeper) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	state, revision, err := k.cfg.Store.Load(ctx)
	if err != nil {
		return err
	}
	if now, err := k.cfg.Now(); err == nil {
		k.seen = now
	}
	switch revision {
	case k.revision:
		return nil
	case "":
		k.cfg.Log.ErrorContext(ctx, "the rotation state was lost, and is written again")
		k.revision, err = k.cfg.Store.Save(ctx, *k.view.Load(), "")
		return err
	}
	k.revision = revision
	k.view.Store(&state)
	return nil
}

// turnAll applies the rules to some keys.
func (k *Keeper) turnAll(state State, terms map[string]Terms, now time.Time) (State, []Change) {
	next := state.clone()
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(terms)) {
		key, moved := advance(name, next.Keys[name], terms[name], k.cfg.Known, now)
		next.Keys[name] = key
		changes = append(changes, moved...)
	}
	return next, changes
}

// change makes a change in the Store, on top of those of others. What the record
// does not take is not done. The caller holds mu.
func (k *Keeper) change(ctx context.Context, edit func(State, time.Time) (State, []Change, error)) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	now, err := k.cfg.Now()
	if err != nil {
		return err
	}
	now = now.UTC().Truncate(time.Second)
	for try := 0; ; try++ {
		before := *k.view.Load()
		next, changes, err := edit(before, now)
		if err != nil {
			return err
		}
		if same(before, next) {
			return nil
		}
		for _, c := range changes {
			if err := k.cfg.Record(ctx, c); err != nil {
				return err
			}
		}
		revision, err := k.cfg.Store.Save(ctx, next, k.revision)
		if err == nil {
			k.revision = revision
			k.view.Store(&next)
			k.tell(ctx, changes)
			return nil
		}
		if !errors.Is(err, ErrConflict) || try == saves {
			return err
		}
		if err := k.follow(ctx); err != nil {
			return err
		}
	}
}

// same says whether two states are. Keys without versions are none.
func same(a, b State) bool {
	if len(a.Keys) == 0 && len(b.Keys) == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

func (k *Keeper) tell(ctx context.Context, changes []Change) {
	for _, c := range changes {
		by := c.By
		if by == "" {
			by = "the rules"
		}
		k.cfg.Log.InfoContext(ctx, "key version", "key", c.Key, "kid", c.KID, "change", c.String(), "by", by)
	}
}

// apply has the active versions sign, of which it is saved that this server may
// sign with them. One that has not seen the Store for too long cannot know which
// they are. The caller holds mu.
func (k *Keeper) apply(rings Rings) {
	state := k.view.Load()
	if now, err := k.cfg.Now(); err == nil && now.Sub(k.seen) > Outage {
		state = &State{}
	}
	for name := range rings.Terms() {
		kid := ""
		if v := state.Keys[name].active(); v != nil && slices.Contains(v.Signers, k.cfg.Known.ID()) {
			kid = v.KID
		}
		rings.Activate(name, kid)
	}
}
