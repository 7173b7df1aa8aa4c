// Package filekey keeps P-256 private keys in PEM files: the .p8 that Apple
// lets one download once, a file that openssl wrote, a mounted Kubernetes
// secret.
//
// The backend's URI names a directory, and a key id is the name of a file
// inside it:
//
//	file:/etc/jotsmith/keys       id AuthKey_2X9R4HXF34.p8
//	file:///etc/jotsmith/keys     the same
//
// A file holds one private key, in PKCS#8 (PRIVATE KEY) or SEC 1
// (EC PRIVATE KEY, with or without EC PARAMETERS ahead of it), not encrypted.
//
// The least permissions: the file belongs to root or to the user that the
// program runs as, and others cannot read it, mode 0600 or 0400; of root's file
// mode 0640 or 0440 is taken too, because that is how Kubernetes mounts a secret
// for a group. The program can read and search the directory.
//
// The key is read by Describe and lies in this process's memory from then on:
// what happens to the file later changes nothing before the next Describe.
package filekey

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jotsmith/jotsmith/backends"
)

// maxReads is how many files are read at once. A file system that hangs holds
// no more than so many goroutines.
const maxReads = 4

// Backend serves the keys in one directory.
type Backend struct {
	dir   string
	log   *slog.Logger
	calls gate
	slots chan struct{} // one element per file being read

	// keys are the described keys by id. The map is never written to: Describe
	// swaps in a copy, so that Sign reads it without a lock or an allocation.
	keys    atomic.Pointer[map[string]*ecdsa.PrivateKey]
	writing sync.Mutex // serialises the swaps

	// read is readKeyFile, but for tests of a file system that hangs.
	read func(dir, id string) ([]byte, error)
}

var _ backends.KeyBackend = (*Backend)(nil)

// Open returns a backend over the directory that uri names, after a look
// whether it is there. It keeps nothing open: a directory that is mounted anew
// is used as it then is. The caller closes the backend.
//
// Errors are *[backends.Error] with the Op "open".
func Open(ctx context.Context, uri string, log *slog.Logger) (*Backend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := parseURI(uri)
	if err != nil {
		return nil, openError(backends.ErrUnavailable, err)
	}
	info, err := os.Stat(dir) //nolint:gosec // whoever writes the configuration, or the command line, names the directory
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, openError(backends.ErrAccessDenied,
			fmt.Errorf("%w: give uid %d search permission on each directory of this path", err, os.Geteuid()))
	case err != nil:
		return nil, openError(backends.ErrUnavailable,
			fmt.Errorf("%w: create the directory, or mend the path in the backend's uri", err))
	case !info.IsDir():
		return nil, openError(backends.ErrUnavailable,
			fmt.Errorf("%s is not a directory: the backend's uri names the directory, the key's id the file in it", dir))
	}
	return newBackend(dir, log), nil
}

func newBackend(dir string, log *slog.Logger) *Backend {
	b := &Backend{dir: dir, log: log, slots: make(chan struct{}, maxReads), read: readKeyFile}
	b.calls.init()
	b.keys.Store(new(map[string]*ecdsa.PrivateKey))
	return b
}

func openError(kind, err error) error {
	return &backends.Error{Op: "open", Kind: kind, Err: err}
}

// Describe reads the file named id and signs with its key from now on. When it
// fails, a key described earlier under the same id stays in use.
func (b *Backend) Describe(ctx context.Context, id string) (backends.KeyInfo, error) {
	if !b.calls.enter() {
		return backends.KeyInfo{}, &backends.Error{Op: "describe", KeyID: id, Kind: backends.ErrClosed}
	}
	defer b.calls.leave()
	key, err := b.load(ctx, "describe", id)
	if err != nil {
		return backends.KeyInfo{}, err
	}
	b.install(id, key, true)
	return backends.KeyInfo{PublicKey: &key.PublicKey, CanonicalID: b.path(id), InProcess: true}, nil
}

// Close makes every later call fail with [backends.ErrClosed], waits for the
// calls under way, and forgets the keys.
func (b *Backend) Close() error {
	b.calls.close()
	b.keys.Store(new(map[string]*ecdsa.PrivateKey))
	return nil
}

func checkID(id string) error {
	if !fs.ValidPath(id) || id == "." || strings.ContainsRune(id, 0) {
		return errors.New("an id is the name of a file inside the backend's directory: no leading or trailing slash, no . or .. element")
	}
	return nil
}

// load reads and parses the file named id.
func (b *Backend) load(ctx context.Context, op, id string) (*ecdsa.PrivateKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkID(id); err != nil {
		return nil, &backends.Error{Op: op, KeyID: id, Kind: backends.ErrKeyNotFound, Err: err}
	}
	data, err := b.readWithin(ctx, id)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, b.readError(op, id, err)
	}
	key, err := parseKey(data)
	clear(data[:cap(data)])
	if err != nil {
		return nil, &backends.Error{
			Op: op, KeyID: id, Kind: backends.ErrKeyUnsuitable,
			Err: fmt.Errorf("%s: %w", b.path(id), err),
		}
	}
	b.log.DebugContext(ctx, "key file read", "key_id", id, "canonical_id", b.path(id))
	return key, nil
}

// readWithin reads the file in a goroutine, because a read from a network file
// system that hangs cannot be cancelled. The goroutine ends with the read and
// leaves its slot then.
func (b *Backend) readWithin(ctx context.Context, id string) ([]byte, error) {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-b.slots }()
		data, err := b.read(b.dir, id)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// install makes key the one of id, or leaves the one that is there unless
// replace is set, and returns which it is.
func (b *Backend) install(id string, key *ecdsa.PrivateKey, replace bool) *ecdsa.PrivateKey {
	b.writing.Lock()
	defer b.writing.Unlock()
	old := *b.keys.Load()
	if present := old[id]; present != nil && !replace {
		return present
	}
	keys := make(map[string]*ecdsa.PrivateKey, len(old)+1)
	maps.Copy(keys, old)
	keys[id] = key
	b.keys.Store(&keys)
	return key
}

// path is the file as the operator knows it: symbolic links are not resolved,
// so that the name outlives the swap of a Kubernetes secret.
func (b *Backend) path(id string) string {
	return filepath.Join(b.dir, filepath.FromSlash(id))
}

// readError turns what [readKeyFile] returned into the error of a call.
func (b *Backend) readError(op, id string, err error) error {
	e := &backends.Error{Op: op, KeyID: id, Kind: backends.ErrUnavailable, Err: err}
	var refused *backends.FileRefusal
	switch {
	case errors.As(err, &refused):
		e.Kind = refused.Kind
		e.Err = fmt.Errorf("%s: %w", b.path(id), refused)
	case errors.Is(err, errNoDirectory):
		// The store is away, not the key: it may come back.
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = backends.ErrKeyNotFound
		e.Err = fmt.Errorf("%s: %w: put the key's file there, or mend the key's id", b.path(id), fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		e.Kind = backends.ErrAccessDenied
		e.Err = fmt.Errorf("%s: %w: let uid %d read it: run chown %d on it", b.path(id), fs.ErrPermission, os.Geteuid(), os.Geteuid())
	}
	return e
}
