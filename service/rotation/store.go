package rotation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/jotsmith/jotsmith/service/statefile"
)

// Revision names what a Store holds. The zero Revision is that of nothing.
type Revision string

// ErrConflict says that a Store holds something else than who saves has loaded.
var ErrConflict = errors.New("the rotation state was changed by another")

// A Store keeps the State, for one server or for several that are to agree. It
// is safe for concurrent use, by several processes too where it is shared.
type Store interface {
	// Load returns what the Store holds: an empty State and the zero Revision
	// where it holds nothing yet. A State that no Keeper can have saved is an
	// error.
	Load(ctx context.Context) (State, Revision, error)

	// Save puts a State in the place of the one of a Revision and returns its
	// own Revision, when it is sure to be there after a crash. It fails with
	// ErrConflict, and changes nothing, where the Store holds another by now.
	Save(ctx context.Context, state State, before Revision) (Revision, error)
}

// maxFile is the largest file that Load reads, in bytes.
const maxFile = 4 << 20

// File is a Store in a file, which several servers on one machine, or on a file
// system that has locks, can share.
type File struct{ Path string }

// Load reads the file.
func (f File) Load(context.Context) (State, Revision, error) {
	data, err := statefile.Read(f.Path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, "", nil
	}
	if err != nil {
		return State{}, "", fmt.Errorf("rotation state %s: %w", f.Path, err)
	}
	state, err := parse(data)
	if err != nil {
		return State{}, "", fmt.Errorf("rotation state %s: %w; bring back a copy of it: without it the first version of each key signs", f.Path, err)
	}
	return state, revision(data), nil
}

// Save replaces the file whole.
func (f File) Save(ctx context.Context, state State, before Revision) (Revision, error) {
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return "", err
	}
	data = append(data, '\n')
	unlock, err := statefile.Lock(ctx, f.Path+".lock")
	if err != nil {
		return "", fmt.Errorf("rotation state %s: %w", f.Path, err)
	}
	defer unlock()
	held, err := statefile.Read(f.Path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if before != "" {
			return "", ErrConflict
		}
	case err != nil:
		return "", fmt.Errorf("rotation state %s: %w", f.Path, err)
	case revision(held) != before:
		return "", ErrConflict
	}
	if err := statefile.Replace(f.Path, data); err != nil {
		return "", fmt.Errorf("rotation state: %w", err)
	}
	return revision(data), nil
}

// Dry returns a Store that begins with what another holds and saves nothing
// there.
func Dry(store Store) Store { return &dry{store: store} }

type dry struct {
	store Store
	saved atomic.Pointer[State]
}

func (d *dry) Load(ctx context.Context) (State, Revision, error) {
	if saved := d.saved.Load(); saved != nil {
		return *saved, "dry", nil
	}
	return d.store.Load(ctx)
}

func (d *dry) Save(_ context.Context, state State, _ Revision) (Revision, error) {
	d.saved.Store(&state)
	return "dry", nil
}

func parse(data []byte) (State, error) {
	var state State
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&state); err != nil {
		return State{}, err
	}
	if strict.More() {
		return State{}, errors.New("something stands behind it")
	}
	return state, state.valid()
}

func revision(data []byte) Revision {
	digest := sha256.Sum256(data)
	return Revision(digest[:])
}
