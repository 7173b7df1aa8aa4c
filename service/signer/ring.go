package signer

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// ring is the versions of a key, of which one signs at a time. A key without
// versions is a ring of one, which always signs.
type ring struct {
	name     string
	versions []*key // in the order of the configuration; at least one
	onHealth func(key string, healthy bool)
	onChange func()

	active atomic.Pointer[key] // nil while none signs
	mu     sync.Mutex          // a report is of the version that is active
}

// add puts a version, or the only one, into the ring.
func (r *ring) add(k *key) {
	r.versions = append(r.versions, k)
	if k.Version == 0 {
		r.active.Store(k)
	}
	k.report = func(healthy bool) { r.report(k, healthy) }
}

// report says whether the active version can sign, and that something about a
// version has changed.
func (r *ring) report(k *key, healthy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active.Load() == k {
		r.onHealth(r.name, healthy)
	}
	if k.Version > 0 {
		r.onChange()
	}
}

// signing returns the version that signs.
func (r *ring) signing() (*key, error) {
	if k := r.active.Load(); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: none of the versions of the key %q signs yet", ErrNotReady, r.name)
}

// Activate has the version of this kid sign for a key with versions from the
// next signature on, and no other. Where there is none, as with an empty kid,
// none signs.
func (s *Signer) Activate(name, kid string) {
	r, ok := s.keys[name]
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var next *key
	for _, k := range r.versions {
		if k.Version > 0 && kid != "" && k.kid() == kid {
			next = k
		}
	}
	if before := r.active.Swap(next); before != next {
		r.onHealth(name, next != nil && next.state() == healthy)
	}
}

// VersionStatus is the state of one version of a key.
type VersionStatus struct {
	Key    Key
	Public *Public // nil while it was not read from its store
	Active bool
	Fault  error // why it could not sign when it was last asked; nil where it could
}

// Versions returns the versions of a key, in the order of the configuration; nil
// for a key that has none.
func (s *Signer) Versions(name string) []VersionStatus {
	r, ok := s.keys[name]
	if !ok || r.versions[0].Version == 0 {
		return nil
	}
	all := make([]VersionStatus, len(r.versions))
	for i, k := range r.versions {
		all[i] = VersionStatus{Key: k.Key, Active: r.active.Load() == k, Fault: k.why()}
		if info := k.info.Load(); info != nil {
			all[i].Public = &Public{info.kid, info.public}
		}
	}
	return all
}
