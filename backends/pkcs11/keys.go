//go:build cgo && unix

package pkcs11

import (
	"crypto/ecdsa"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// key is a private key as found on the token. Its handle is good for one login
// with the token as it was found.
type key struct {
	handle    p11.ObjectHandle
	token     *hsmToken
	login     uint64
	public    *ecdsa.PublicKey
	canonical string
	always    bool // CKA_ALWAYS_AUTHENTICATE: a login for every signature
}

// keyring holds the keys found, by the id they were asked for. It grows only by
// ids that exist.
type keyring struct {
	report func(id string, found key, latched error) // told of new keys and of latches; or nil

	mu   sync.Mutex
	keys map[string]*keyEntry
}

type keyEntry struct {
	want    keyID
	found   key
	latched error // the token showed another public key: for good
}

// wanted reads an id.
func (r *keyring) wanted(id string) (keyID, error) {
	r.mu.Lock()
	e := r.keys[id]
	r.mu.Unlock()
	if e != nil {
		return e.want, nil
	}
	want, err := parseKeyID(id)
	if err != nil {
		return keyID{}, fail(backends.ErrKeyNotFound, "%w", err)
	}
	return want, nil
}

// cached returns the key if its handle is still good in the session.
func (r *keyring) cached(id string, s *session) (key, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.keys[id]
	if e == nil {
		return key{}, false, nil
	}
	fresh := e.found.token == s.token && e.found.login == s.login
	return e.found, fresh, e.latched
}

// learn takes what was found for an id. The first public key seen is the key's
// for good: another one latches the id, until the backend is opened anew.
func (r *keyring) learn(id string, want keyID, found key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.keys[id]
	if e == nil {
		r.keys[id] = &keyEntry{want: want, found: found}
		r.tell(id, found, nil)
		return nil
	}
	if e.latched == nil && !e.found.public.Equal(found.public) {
		e.latched = fail(backends.ErrKeyMismatch, "the token shows another public key under this id than at first, now as %s: "+
			"restore the key, or reload the configuration to accept the new one", found.canonical)
		r.tell(id, e.found, e.latched)
	}
	if e.latched == nil {
		e.found = found
	}
	return e.latched
}

// expect has an id mean the key that an earlier process found under it, or
// leaves it latched.
func (r *keyring) expect(id string, public *ecdsa.PublicKey, latched error) {
	want, err := parseKeyID(id)
	if err != nil {
		return // then it was never found
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[id] = &keyEntry{want: want, found: key{public: public}, latched: latched}
}

func (r *keyring) tell(id string, found key, latched error) {
	if r.report != nil {
		r.report(id, found, latched)
	}
}

// find looks the key up on the token, afresh.
func (r *keyring) find(id string, want keyID, s *session) (key, error) {
	if _, _, latched := r.cached(id, s); latched != nil {
		return key{}, latched
	}
	found, err := findKey(s, want)
	if err != nil {
		return key{}, err
	}
	return found, r.learn(id, want, found)
}

// get returns the key with a handle that is good in the session.
func (r *keyring) get(id string, want keyID, s *session) (key, error) {
	k, fresh, latched := r.cached(id, s)
	if latched != nil || fresh {
		return k, latched
	}
	return r.find(id, want, s)
}
