package filekey

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/jotsmith/jotsmith/backends"
)

// Maker makes key files in one directory. It is no KeyBackend: what serves
// cannot make keys.
//
// A new key is written to the file .NAME.new beside the file that it will be,
// flushed, proved by that name and linked to its own, which fails if the name is
// taken meanwhile. A run that is killed leaves that file, or nothing.
type Maker struct {
	files *Backend // reads as the server will
}

var (
	_ backends.Generator = (*Maker)(nil)
	_ backends.Importer  = (*Maker)(nil)
)

// OpenMaker opens the directory that uri names, as [Open] does.
func OpenMaker(ctx context.Context, uri string, log *slog.Logger) (*Maker, error) {
	files, err := Open(ctx, uri, log)
	if err != nil {
		return nil, err
	}
	return &Maker{files}, nil
}

// Close implements both interfaces.
func (m *Maker) Close() error { return m.files.Close() }

// ReadPrivateKey reads the key file at a path for its import elsewhere, as
// strictly as a file that is to serve. The caller wipes the key. What the PEM
// decoder and crypto/ecdsa left in memory on the way is out of reach.
func ReadPrivateKey(ctx context.Context, file string) (*backends.PrivateKey, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Split(absolute)
	b := newBackend(filepath.Clean(dir), slog.New(slog.DiscardHandler))
	return b.private(ctx, "import", name)
}

// private reads a file for its private key.
func (b *Backend) private(ctx context.Context, op, id string) (*backends.PrivateKey, error) {
	key, err := b.load(ctx, op, id)
	if err != nil {
		return nil, err
	}
	return take(key)
}

// take moves a key out of crypto/ecdsa.
func take(key *ecdsa.PrivateKey) (*backends.PrivateKey, error) {
	defer backends.Forget(key)
	scalar, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(scalar)
	return backends.NewPrivateKey([32]byte(scalar))
}

// The steps of a making.
func stepDirectory(dir string) backends.Step {
	return backends.Step{Does: "check that only you and root can write " + dir, Needs: "to search it"}
}

func stepWrite(file string) backends.Step {
	return backends.Step{Does: "write the key to " + file + ", mode 0600, and flush it", Needs: "to write the directory"}
}

func stepProve() backends.Step {
	return backends.Step{Does: "prove it: read it as the server does, sign, verify", Needs: "to read the file"}
}

func stepName(file string) backends.Step {
	return backends.Step{Does: "link it to " + file + " unless that exists, and remove the other name", Needs: "to write the directory"}
}

// Generate implements [backends.Generator].
func (m *Maker) Generate(ctx context.Context, id string, how backends.Making) (backends.Made, error) {
	made, err := m.generate(ctx, id, how)
	return made, failed("generate", id, err)
}

func (m *Maker) generate(ctx context.Context, id string, how backends.Making) (backends.Made, error) {
	p, err := m.place(ctx, id, how)
	if err != nil {
		return backends.Made{}, err
	}
	defer p.dir.Close()
	if _, err := p.dir.Lstat(p.name); !errors.Is(err, fs.ErrNotExist) {
		return backends.Made{}, taken(p.file, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), how.Random)
	if err != nil {
		return backends.Made{}, err
	}
	private, err := take(key)
	if err != nil {
		return backends.Made{}, err
	}
	defer private.Wipe()
	return m.put(ctx, p, private, how)
}

// PlanImport implements [backends.Importer].
func (m *Maker) PlanImport(ctx context.Context, id string, how backends.Making) ([]backends.Step, error) {
	p, err := m.parse(ctx, id, how)
	if err != nil {
		return nil, failed("plan", id, err)
	}
	return []backends.Step{stepDirectory(p.path), stepWrite(p.new()), stepProve(), stepName(p.file)}, nil
}

// Import implements [backends.Importer]: it makes a copy, of the right mode and
// in PKCS#8.
func (m *Maker) Import(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	made, err := m.take(ctx, id, key, how)
	return made, failed("import", id, err)
}

func (m *Maker) take(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	p, err := m.place(ctx, id, how)
	if err != nil {
		return backends.Made{}, err
	}
	defer p.dir.Close()
	_, err = p.dir.Lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return m.put(ctx, p, key, how)
	}
	if err != nil {
		return backends.Made{}, err
	}
	return m.again(ctx, p, key, how)
}

// again proves the file that is there already, if it is the key's.
func (m *Maker) again(ctx context.Context, p place, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	there, err := m.files.private(ctx, "import", p.id)
	if err != nil {
		return backends.Made{}, taken(p.file, err)
	}
	there.Wipe()
	if !there.Public().Equal(key.Public()) {
		return backends.Made{}, taken(p.file, errors.New("it holds another key"))
	}
	if err := prove(ctx, p.id, how); err != nil {
		return backends.Made{}, err
	}
	p.dropTwin()
	return m.made(key, p, "nothing was written: "+p.file+" held this key already"), nil
}

// put writes the key under its provisional name, has it proved and gives it its
// own. On failure it takes the file away again.
func (m *Maker) put(ctx context.Context, p place, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	write := stepWrite(p.new())
	how.Begin(write)
	if err := p.write(key); err != nil {
		return backends.Made{}, err
	}
	how.End(write, "")
	err := prove(ctx, path.Join(path.Dir(p.id), p.temporary()), how)
	if err == nil {
		err = p.link(how)
	}
	removing := p.dir.Remove(p.temporary())
	if removing == nil {
		removing = p.sync()
	}
	switch {
	case removing == nil:
		return m.made(key, p), err
	case err == nil:
		return m.made(key, p, fmt.Sprintf("%s is the same file under another name and could not be removed: %v", p.new(), removing)), nil
	}
	return backends.Made{}, backends.Leaving(err, p.remnant())
}

// link gives the file its own name, unless something has it.
func (p place) link(how backends.Making) error {
	step := stepName(p.file)
	how.Begin(step)
	switch err := p.dir.Link(p.temporary(), p.name); {
	case errors.Is(err, fs.ErrExist):
		return taken(p.file, nil)
	case err != nil:
		return fmt.Errorf("%w: a file system without hard links cannot be used", err)
	}
	if err := p.sync(); err != nil {
		return fmt.Errorf("%s is there, and may not outlive a crash of the machine: %w", p.file, err)
	}
	how.End(step, p.file)
	return nil
}

func (*Maker) made(key *backends.PrivateKey, p place, notes ...string) backends.Made {
	return backends.Made{
		KeyInfo: backends.KeyInfo{PublicKey: key.Public(), CanonicalID: p.file, InProcess: true},
		Notes:   notes,
	}
}

func prove(ctx context.Context, id string, how backends.Making) error {
	step := stepProve()
	how.Begin(step)
	if err := how.Prove(ctx, id); err != nil {
		return err
	}
	how.End(step, "")
	return nil
}

// place is where a new key file goes.
type place struct {
	id   string // as the configuration will say it
	name string // the file's own name, the id's last element
	path string // the directory's
	file string // the whole path
	dir  *os.Root
}

// temporary is the file's name until it is proved. The same for every run, so
// that one finds what another left.
func (p place) temporary() string { return "." + p.name + ".new" }

func (p place) new() string { return filepath.Join(p.path, p.temporary()) }

func (p place) remnant() backends.Remnant {
	return backends.Remnant{What: "the file " + p.new(), Remove: backends.Command("rm", p.new())}
}

// parse says where an id's file goes, without a look at the disk.
func (m *Maker) parse(ctx context.Context, id string, how backends.Making) (place, error) {
	if err := ctx.Err(); err != nil {
		return place{}, err
	}
	for name := range how.Settings {
		return place{}, refused("a file has no setting %q, and no other", name)
	}
	if err := checkID(id); err != nil {
		return place{}, refused("%w", err)
	}
	file := m.files.path(id)
	return place{id: id, name: path.Base(id), path: filepath.Dir(file), file: file}, nil
}

// place opens the directory of an id's file, which nobody else may write. The
// caller closes it.
func (m *Maker) place(ctx context.Context, id string, how backends.Making) (place, error) {
	p, err := m.parse(ctx, id, how)
	if err != nil {
		return place{}, err
	}
	step := stepDirectory(p.path)
	how.Begin(step)
	if p.dir, err = openPrivate(m.files.dir, path.Dir(id)); err != nil {
		return place{}, err
	}
	how.End(step, "")
	return p, nil
}

// openPrivate opens a directory inside another, if nobody but root and this
// program's user can put files into them.
func openPrivate(root, below string) (*os.Root, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	err = checkDirectory(dir)
	for element := range strings.SplitSeq(below, "/") {
		if err != nil || element == "." {
			break
		}
		var next *os.Root
		if next, err = dir.OpenRoot(element); err == nil {
			dir.Close()
			dir = next
			err = checkDirectory(dir)
		}
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// checkDirectory looks at what was opened, not at a name.
func checkDirectory(dir *os.Root) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	if err := backends.CheckWriters(dir.Name(), info); err != nil {
		return fmt.Errorf("the directory %s, in which others could exchange the key: %w", dir.Name(), err)
	}
	return nil
}

// write makes the file under its provisional name.
func (p place) write(key *backends.PrivateKey) (err error) {
	f, err := p.dir.OpenFile(p.temporary(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &backends.Error{Kind: backends.ErrUnfinished, Err: &backends.UnfinishedError{
			Left: []backends.Remnant{p.remnant()},
			Err:  errors.New("unless another run is under way, it was interrupted before the key had its name, and nothing uses the file"),
		}}
	}
	if err != nil {
		return err
	}
	text, err := pemOf(key)
	defer clear(text)
	if err == nil {
		_, err = f.Write(text)
	}
	// The mode anew: a umask can have taken from it, and a default access list
	// of the directory added to it.
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, p.dir.Remove(p.temporary()))
	}
	return nil
}

// pemOf writes the key as PKCS#8, in one piece of memory that the caller wipes.
func pemOf(key *backends.PrivateKey) ([]byte, error) {
	der, err := key.PKCS8()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	text := bytes.NewBuffer(make([]byte, 0, 512)) // more than it is
	err = pem.Encode(text, &pem.Block{Type: labelPKCS8, Bytes: der})
	return text.Bytes(), err
}

// sync flushes the directory, without which the new name can be lost.
func (p place) sync() error {
	dir, err := p.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// dropTwin removes the provisional name of the very file that has its own, which
// a run leaves that is killed between the last two calls.
func (p place) dropTwin() {
	twin, err := p.dir.Lstat(p.temporary())
	if err != nil {
		return
	}
	if own, err := p.dir.Lstat(p.name); err == nil && os.SameFile(twin, own) {
		_ = p.dir.Remove(p.temporary()) // it is the same file: nothing depends on it
	}
}

func taken(file string, why error) error {
	if why == nil {
		why = errors.New("it is never overwritten: name another file, or move this one away")
	}
	return &backends.Error{Kind: backends.ErrKeyExists, Err: fmt.Errorf("%s: %w", file, why)}
}

func refused(format string, args ...any) error {
	return &backends.Error{Kind: backends.ErrNotMade, Err: fmt.Errorf(format, args...)}
}

// failed gives a failure the Kind of what the system said.
func failed(op, id string, err error) error {
	if known := (*backends.Error)(nil); err != nil && !errors.As(err, &known) {
		var refusal *backends.FileRefusal
		switch {
		case errors.As(err, &refusal):
			err = &backends.Error{Kind: refusal.Kind, Err: err}
		case errors.Is(err, fs.ErrPermission):
			err = &backends.Error{Kind: backends.ErrAccessDenied, Err: err}
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("%w: make the directory first, for its user alone to write", err)
		}
	}
	return backends.Failed(op, id, err)
}
