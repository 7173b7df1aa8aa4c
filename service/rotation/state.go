package rotation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Standing is where a version of a key stands.
type Standing string

// The standings, in their order.
const (
	Next    Standing = "next"
	Active  Standing = "active"
	Retired Standing = "retired"
	Gone    Standing = "gone"
)

// Version is what is remembered of one version of a key.
type Version struct {
	KID      string   `json:"kid"`
	Standing Standing `json:"standing"`
	// SPKI is the public key, a DER SubjectPublicKeyInfo (RFC 5280 section
	// 4.1.2.7): a retired version is published when no store has it any more.
	SPKI []byte `json:"spki"`
	// Place is where the configuration had it last: its backend and id. By it a
	// version is known that no store has any more.
	Place string `json:"place"`

	Published time.Time `json:"published"`          // since when verifiers can know it
	Activated time.Time `json:"activated,omitzero"` // when it began to sign, the last time
	Retired   time.Time `json:"retired,omitzero"`   // when it ceased to
	Gone      time.Time `json:"gone,omitzero"`

	// Signers are the servers that may have signed with it and have not said
	// since when the last of their tokens ends.
	Signers []string `json:"signers,omitempty"`
	// NewestEnd is when the last token ends of those that have said so.
	NewestEnd time.Time `json:"newest_end,omitzero"`
	// Longest is the longest that any of its tokens can be valid, in
	// nanoseconds, and Endless says that some have no end.
	Longest time.Duration `json:"longest,omitzero"`
	Endless bool          `json:"endless,omitzero"`
}

// PublicKey returns the public key.
func (v Version) PublicKey() (*ecdsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(v.SPKI)
	if err != nil {
		return nil, err
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return public, nil
}

// Will is what an operator wants, and who he is.
type Will struct {
	By    string `json:"by"`    // as the log names him
	Proof string `json:"proof"` // how he was proved
	Why   string `json:"why,omitzero"`
	Force bool   `json:"force,omitzero"` // against what the rules would have
}

// Order is an operator's word that another version is to sign.
type Order struct {
	KID  string    `json:"kid"`
	Time time.Time `json:"time"` // not before
	Will
}

// Key is what is remembered of one key.
type Key struct {
	Versions []Version `json:"versions"` // in the order in which they were first seen
	Order    *Order    `json:"order,omitempty"`
	// Left are the kids of versions that were published and are no longer
	// configured, and when they were last. Whoever publishes elsewhere may let
	// them go, too.
	Left map[string]time.Time `json:"left,omitempty"`
}

// State is what is remembered of all keys, by their names in the configuration.
type State struct {
	Keys map[string]Key `json:"keys"`
}

// clone returns a copy that can be changed.
func (k Key) clone() Key {
	k.Versions = slices.Clone(k.Versions)
	for i := range k.Versions {
		k.Versions[i].Signers = slices.Clone(k.Versions[i].Signers)
	}
	k.Left = maps.Clone(k.Left)
	return k
}

func (s State) clone() State {
	s.Keys = maps.Clone(s.Keys)
	if s.Keys == nil {
		s.Keys = map[string]Key{}
	}
	return s
}

// find returns the version of a kid, nil where there is none.
func (k Key) find(kid string) *Version {
	for i := range k.Versions {
		if k.Versions[i].KID == kid {
			return &k.Versions[i]
		}
	}
	return nil
}

// active returns the version that signs, nil where none does.
func (k Key) active() *Version {
	for i := range k.Versions {
		if k.Versions[i].Standing == Active {
			return &k.Versions[i]
		}
	}
	return nil
}

// Active returns the kid of the version that signs; empty where none does.
func (k Key) Active() string {
	if v := k.active(); v != nil {
		return v.KID
	}
	return ""
}

// valid refuses what no Keeper writes.
func (s State) valid() error {
	for name, k := range s.Keys {
		seen, active := map[string]bool{}, 0
		for _, v := range k.Versions {
			if v.KID == "" || seen[v.KID] || v.Published.IsZero() {
				return fmt.Errorf("key %q: version %q is named twice, or has no kid or time", name, v.KID)
			}
			seen[v.KID] = true
			if _, err := v.PublicKey(); err != nil {
				return fmt.Errorf("key %q: version %q: spki: %w", name, v.KID, err)
			}
			switch v.Standing {
			case Active:
				active++
			case Next, Retired, Gone:
			default:
				return fmt.Errorf("key %q: version %q stands as %q", name, v.KID, v.Standing)
			}
		}
		if active > 1 {
			return fmt.Errorf("key %q: two versions are active", name)
		}
		if k.Order != nil && !seen[k.Order.KID] {
			return fmt.Errorf("key %q: there is an order for %q, which is no version", name, k.Order.KID)
		}
	}
	return nil
}
