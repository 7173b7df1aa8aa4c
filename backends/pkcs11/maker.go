//go:build cgo && unix

package pkcs11

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// afterEnd is how long a making that is under way is waited for when its
// context ends, so that its caller learns what is left.
const afterEnd = 3 * time.Second

// Maker makes keys on one token, in read/write sessions of its own. It is no
// KeyBackend: the sessions of what serves are read-only.
//
// The module lives in this process even with isolate=true: what crashes with it
// is a command and no server.
type Maker struct {
	b *backend
	c config
}

var (
	_ backends.Generator = (*Maker)(nil)
	_ backends.Importer  = (*Maker)(nil)
)

// OpenMaker reads the URI, loads the module and looks for the token, as [Open]
// does.
func OpenMaker(ctx context.Context, uri string, log *slog.Logger) (*Maker, error) {
	c, err := prepare(uri)
	if err != nil {
		return nil, named("open", "", err)
	}
	b, err := openHere(c, modules.pinsOf(c.modulePath), log.With("module", c.modulePath), defaultPace())
	if err != nil {
		return nil, named("open", "", err)
	}
	_, _ = b.link.await(ctx) // found or not, it is open
	return &Maker{b, c}, nil
}

// Close implements both interfaces.
func (m *Maker) Close() error { return m.b.Close() }

// Generate implements [backends.Generator].
func (m *Maker) Generate(ctx context.Context, id string, how backends.Making) (backends.Made, error) {
	made, err := m.run(ctx, id, nil, how)
	return made, backends.Failed("generate", id, err)
}

// PlanImport implements [backends.Importer]. It asks the token for its
// mechanisms, without a login.
func (m *Maker) PlanImport(ctx context.Context, id string, how backends.Making) ([]backends.Step, error) {
	j, err := m.newJob(ctx, id, how, true)
	if err != nil {
		return nil, backends.Failed("plan", id, err)
	}
	return []backends.Step{j.stepFree(), j.stepPublic(), j.stepPrivate(), j.stepProve()}, nil
}

// Import implements [backends.Importer].
func (m *Maker) Import(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	made, err := m.run(ctx, id, key, how)
	return made, backends.Failed("import", id, err)
}

// job is one making under way.
type job struct {
	*Maker
	id   string
	want keyID
	ckID []byte // CKA_ID of the new objects
	how  backends.Making
	key  *backends.PrivateKey // nil when the token makes it
	way  way                  // of an import

	made  []p11.ObjectHandle // on the token, to be taken away on failure
	found key
	notes []string
}

func (m *Maker) newJob(ctx context.Context, id string, how backends.Making, imports bool) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	want, err := parseKeyID(id)
	if err != nil {
		return nil, refused("%w", err)
	}
	j := &job{Maker: m, id: id, want: want, how: how}
	for name := range how.Settings {
		if name != "wrap" || !imports {
			return nil, refused("a token has no setting %q; of an import it has wrap", name)
		}
	}
	if !imports {
		return j, nil
	}
	j.way, err = m.chooseWay(ctx, how.Settings["wrap"])
	return j, err
}

func (m *Maker) run(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	j, err := m.newJob(ctx, id, how, key != nil)
	if err != nil {
		return backends.Made{}, err
	}
	j.key = key
	if j.ckID = []byte(j.want.id); len(j.ckID) == 0 {
		// Tools pair a public key with its private key by CKA_ID.
		j.ckID = make([]byte, 8)
		if _, err := how.Random.Read(j.ckID); err != nil {
			return backends.Made{}, err
		}
	}
	if err := m.do(ctx, j, j.make); err != nil {
		return backends.Made{}, err
	}
	step := j.stepProve()
	how.Begin(step)
	if err := how.Prove(ctx, id); err != nil {
		return backends.Made{}, j.undo(ctx, err)
	}
	how.End(step, "")
	return backends.Made{KeyInfo: backends.KeyInfo{PublicKey: j.found.public, CanonicalID: j.found.canonical}, Notes: j.notes}, nil
}

// do runs f on a read/write session. Nothing in it is repeated: a second call
// could make a second key.
//
// When ctx ends, f ends before its next call, and do waits for it a little: a
// call into a module that hangs may make a key when nobody looks any more.
func (m *Maker) do(ctx context.Context, j *job, f func(context.Context, *session) error) error {
	var mu sync.Mutex
	report, over := j.how.Report, false
	if report != nil {
		j.how.Report = func(step backends.Step, outcome string) {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				report(step, outcome)
			}
		}
	}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}()
	run := func(worker *session) error {
		handle, err := worker.ctx.OpenSession(worker.token.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
		if err != nil {
			return calling("C_OpenSession", err)
		}
		own := *worker
		own.handle, own.dirty = handle, false
		err = f(ctx, &own)
		_ = own.ctx.CloseSession(handle) // with it go the keys that only helped
		return err
	}
	done := make(chan error, 1)
	patient, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.b.pool.wg.Go(func() {
		defer cancel()
		_, _, err := m.b.try(patient, run)
		done <- err
	})
	select {
	case err := <-done:
		return ofMaking(err)
	case <-ctx.Done():
	}
	timer := time.NewTimer(afterEnd)
	defer timer.Stop()
	select {
	case err := <-done:
		return ofMaking(err)
	case <-timer.C:
		cancel()
		return backends.Leaving(ctx.Err(), backends.Remnant{What: "perhaps objects named " + j.id + ": a call does not return from the module", Remove: j.removal()})
	}
}

// ofMaking gives what a module answered its Kind.
func ofMaking(err error) error {
	if known := (*backends.Error)(nil); err == nil || errors.As(err, &known) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*backends.UnfinishedError](err); ok {
		return err
	}
	kind, _ := judge(err)
	return &backends.Error{Kind: kind, Err: err}
}

func refused(format string, args ...any) error { return fail(backends.ErrNotMade, format, args...) }

// The steps of a making.

func (j *job) stepFree() backends.Step {
	return backends.Step{Does: "check that nothing on the token is named " + j.want.String(), Needs: "the user PIN"}
}

func (j *job) stepGenerate() backends.Step {
	return backends.Step{
		Does:  "make a P-256 key pair that signs and does nothing else, sensitive and not extractable",
		Needs: "a read/write session",
	}
}

func (j *job) stepPublic() backends.Step {
	return backends.Step{Does: "write the public key object", Needs: "a read/write session"}
}

func (j *job) stepPrivate() backends.Step {
	return backends.Step{
		Does:  j.way.does() + ", as a key that signs and does nothing else, sensitive and not extractable",
		Needs: "a read/write session",
	}
}

func (j *job) stepProve() backends.Step {
	return backends.Step{Does: "prove it: compare the public half, sign, verify", Needs: "the user PIN"}
}

// make does all but the proof, in one session.
func (j *job) make(ctx context.Context, s *session) error {
	step := j.stepFree()
	j.how.Begin(step)
	public, done, err := j.free(s)
	if err != nil {
		return err
	}
	j.how.End(step, "")
	if done {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.key == nil {
		err = j.generate(s)
	} else {
		err = j.take(ctx, s, public)
	}
	if err == nil {
		err = j.check(s)
	}
	// The caller may have left while the module did not return: then nobody will
	// prove the key.
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return j.takeAway(s, err)
	}
	return nil
}

// free sees to it that nothing has the key's name. Of an import, what has it may
// be the very key, or the public half that a run wrote which was killed then.
func (j *job) free(s *session) (public, done bool, err error) {
	taken := false
	for _, name := range []keyID{{id: j.want.id}, {label: j.want.label}} {
		if name == (keyID{}) {
			continue
		}
		handles, err := search(s, name.template())
		if err != nil {
			return false, false, err
		}
		taken = taken || len(handles) > 0
	}
	if !taken {
		return false, false, nil
	}
	exists := fail(backends.ErrKeyExists, "token %s has an object named %s: choose another name", s.token.info.Label, j.want)
	if j.key == nil {
		return false, false, exists
	}
	there, err := findKey(s, j.want)
	switch {
	case err == nil && there.public.Equal(j.key.Public()):
		j.found = there
		j.notes = append(j.notes, "nothing was imported: the token had this key already, as "+there.canonical)
		return true, true, checkAttributes(object{s, there.handle})
	case err == nil:
		return false, false, fail(backends.ErrKeyExists, "token %s has another key named %s: choose another name", s.token.info.Label, j.want)
	case !errors.Is(err, backends.ErrKeyNotFound):
		return false, false, exists
	}
	half, err := publicObject(s, j.want)
	if err != nil || half == nil || !half.Equal(j.key.Public()) {
		return false, false, exists
	}
	handles, err := findObjects(s, p11.CKO_PUBLIC_KEY, j.want)
	if err != nil || len(handles) != 1 {
		return false, false, exists
	}
	own, err := object{s, handles[0]}.identity()
	if err != nil {
		return false, false, err
	}
	// The private key must get the same CKA_ID, or nobody finds the two together.
	j.ckID = []byte(own.id)
	j.made = append(j.made, handles[0])
	j.notes = append(j.notes, "the public half was there already, from a run that was interrupted")
	return true, false, nil
}

// generate has the token make the key pair.
func (j *job) generate(s *session) error {
	step := j.stepGenerate()
	j.how.Begin(step)
	public, private, err := s.ctx.GenerateKeyPair(s.handle, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)},
		append(j.common(), publicAttributes()...), append(j.common(), privateAttributes()...))
	if err != nil {
		return calling("C_GenerateKeyPair", err)
	}
	j.made = append(j.made, public, private)
	j.how.End(step, "")
	return nil
}

// take writes the public half and then the private key: what has both is whole.
func (j *job) take(ctx context.Context, s *session, public bool) error {
	step := j.stepPublic()
	j.how.Begin(step)
	if !public {
		template, err := j.publicTemplate()
		if err != nil {
			return err
		}
		handle, err := s.ctx.CreateObject(s.handle, template)
		if err != nil {
			return calling("C_CreateObject", err)
		}
		j.made = append(j.made, handle)
	}
	j.how.End(step, "")
	if err := ctx.Err(); err != nil {
		return err
	}
	step = j.stepPrivate()
	j.how.Begin(step)
	handle, err := j.way.take(s, j)
	if err != nil {
		return err
	}
	j.made = append(j.made, handle)
	j.notes = append(j.notes, j.way.note())
	j.how.End(step, "")
	return nil
}

// check looks at what the token made: some pass over what they do not know. A
// token does not see to it that names are unique: of two runs that made a key at
// the same time, whoever sees both takes its own away.
func (j *job) check(s *session) error {
	if err := j.alone(s); err != nil {
		return err
	}
	found, err := findKey(s, j.want)
	if err != nil {
		return cmp.Or(j.alone(s), err)
	}
	if err := checkAttributes(object{s, found.handle}); err != nil {
		return err
	}
	if j.key != nil && !found.public.Equal(j.key.Public()) {
		return fail(backends.ErrKeyMismatch, "the token shows another key's public half than the imported key's, as %s", found.canonical)
	}
	j.found = found
	return nil
}

// alone refuses a second key of the name.
func (j *job) alone(s *session) error {
	for _, class := range []uint{p11.CKO_PRIVATE_KEY, p11.CKO_PUBLIC_KEY} {
		handles, err := findObjects(s, class, j.want)
		if err != nil {
			return err
		}
		if len(handles) != 1 {
			return fail(backends.ErrKeyExists, "another run has made a key named %s meanwhile: choose another name", j.want)
		}
	}
	return nil
}

// undo takes away what was made.
func (j *job) undo(ctx context.Context, why error) error {
	if len(j.made) == 0 {
		return why // it was there before
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterEnd)
	defer cancel()
	var err error
	if doing := j.do(ctx, j, func(_ context.Context, s *session) error {
		err = j.takeAway(s, why)
		return nil
	}); doing != nil {
		return backends.Leaving(why, j.remnant(doing))
	}
	return err
}

// takeAway destroys what was made, the private key first. It returns why, and
// what is left if anything is.
func (j *job) takeAway(s *session, why error) error {
	var failed error
	for _, handle := range slices.Backward(j.made) {
		if err := s.ctx.DestroyObject(s.handle, handle); err != nil {
			failed = errors.Join(failed, calling("C_DestroyObject", err))
		}
	}
	if failed != nil {
		return backends.Leaving(ofMaking(why), j.remnant(failed))
	}
	return ofMaking(why)
}

func (j *job) remnant(why error) backends.Remnant {
	return backends.Remnant{What: fmt.Sprintf("objects named %s on the token (%v)", j.want, why), Remove: j.removal()}
}

// removal is the commands that remove the key's objects.
func (j *job) removal() string {
	words := []string{"pkcs11-tool", "--module", j.c.modulePath}
	if j.c.token.label != "" {
		words = append(words, "--token-label", j.c.token.label)
	}
	words = append(words, "--login", "--delete-object")
	if j.want.id != "" {
		words = append(words, "--id", hex.EncodeToString([]byte(j.want.id)))
	}
	if j.want.label != "" {
		words = append(words, "--label", j.want.label)
	}
	return backends.Command(append(words, "--type", "privkey")...) + "; " + backends.Command(append(words, "--type", "pubkey")...)
}
