package backendtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jotsmith/jotsmith/backends"
)

// Maker is what a backend's OpenMaker returns.
type Maker interface {
	backends.Generator
	backends.Importer
}

// MakerHarness is a real store in which keys can be made.
type MakerHarness struct {
	// OpenMaker opens the store to make keys. RunMaker closes it.
	OpenMaker func(t *testing.T) Maker
	// Open opens it as a server does. RunMaker closes it.
	Open func(t *testing.T) backends.KeyBackend
	// ID is the n-th of any number of ids under which nothing is.
	ID func(n int) string
	// Malformed are ids that no new key can have.
	Malformed []string
	// LeavesKeys says that what was made before a failure cannot be taken away
	// again, so that each such error has to name it.
	LeavesKeys bool
	// Secrets are texts that no error, step, outcome or note may hold.
	Secrets []string
}

// RunMaker runs every case of the contract of Generator and Importer as a
// subtest. That what Open returns makes no keys is a case too.
func RunMaker(t *testing.T, h MakerHarness) {
	t.Helper()
	r := &makerRunner{MakerHarness: h}
	t.Run("what serves cannot make keys", r.servingMakesNone)
	t.Run("a generated key signs", r.generatedKeySigns)
	t.Run("an imported key signs", r.importedKeySigns)
	t.Run("the plan is what is done, and does nothing", r.planIsDone)
	t.Run("no key is replaced", r.noneIsReplaced)
	t.Run("the same import again proves the key", r.importedAgain)
	t.Run("what is not proved is not a key", r.notProved)
	t.Run("a malformed id and an unknown setting are refused", r.refused)
	t.Run("of two at once one makes the key", r.twoAtOnce)
	t.Run("a cancelled context makes nothing", r.cancelled)
	t.Run("Close is idempotent", r.closing)
}

type makerRunner struct {
	MakerHarness
	mu   sync.Mutex
	used int
}

func (r *makerRunner) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used++
	return r.ID(r.used)
}

func (r *makerRunner) open(t *testing.T) (Maker, backends.KeyBackend) {
	t.Helper()
	m, b := r.OpenMaker(t), r.Open(t)
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), b.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m, b
}

// record is what a making asked and reported.
type record struct {
	proved []string
	begun  []backends.Step
	ended  []backends.Step
	said   []string
}

// how has every key proved by b, or by what prove says.
func (r *makerRunner) how(t *testing.T, prove func(ctx context.Context, id string) error) (backends.Making, *record) {
	t.Helper()
	seen := &record{}
	return backends.Making{
		Random: rand.Reader,
		Prove: func(ctx context.Context, id string) error {
			seen.proved = append(seen.proved, id)
			return prove(ctx, id)
		},
		Report: func(step backends.Step, outcome string) {
			if step.Does == "" {
				t.Error("a step says nothing")
			}
			if outcome == "" {
				seen.begun = append(seen.begun, step)
			} else {
				seen.ended = append(seen.ended, step)
			}
			seen.said = append(seen.said, step.Does, step.Needs, outcome)
		},
	}, seen
}

// proof signs by a KeyBackend and verifies with want, or with what it describes.
func proof(b backends.KeyBackend, want *ecdsa.PublicKey) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		info, err := b.Describe(ctx, id)
		if err != nil {
			return err
		}
		if want != nil && !info.PublicKey.Equal(want) {
			return errors.New("another public half")
		}
		sig, err := b.Sign(ctx, id, digest(1))
		if err == nil && !sig.Verify(info.PublicKey, digest(1)) {
			err = errors.New("the signature does not verify")
		}
		return err
	}
}

// NewPrivateKey makes a key, in the form of an import and in crypto/ecdsa's.
func NewPrivateKey(t testing.TB) (*backends.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private, err := backends.NewPrivateKey([32]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return private, key
}

// private is a new key, with the texts by which it could be known.
func (r *makerRunner) private(t *testing.T) (*backends.PrivateKey, []string) {
	t.Helper()
	private, key := NewPrivateKey(t)
	raw := private.Scalar()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return private, append([]string{
		hex.EncodeToString(raw), new(big.Int).SetBytes(raw).String(), base64.StdEncoding.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(der)[48:80], fmt.Sprint(raw)[1:20],
	}, r.Secrets...)
}

func noneOf(t *testing.T, secrets []string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(text, secret) {
				t.Error("a text holds a secret")
			}
		}
	}
}

// wantMakingError fails unless err is an *Error of the Kind and operation.
func (r *makerRunner) wantMakingError(t *testing.T, err error, op string, kind error) {
	t.Helper()
	e, ok := errors.AsType[*backends.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is no *backends.Error", err, err)
	}
	if e.Op != op || !errors.Is(err, kind) {
		t.Errorf("error %v of the operation %q, want %q and %v", err, e.Op, op, kind)
	}
	noneOf(t, r.Secrets, err.Error())
}

func (r *makerRunner) servingMakesNone(t *testing.T) {
	_, b := r.open(t)
	if _, ok := b.(interface {
		Generate(context.Context, string, backends.Making) (backends.Made, error)
	}); ok {
		t.Error("what Open returns is a Generator")
	}
	if _, ok := b.(interface {
		Import(context.Context, string, *backends.PrivateKey, backends.Making) (backends.Made, error)
	}); ok {
		t.Error("what Open returns is an Importer")
	}
}

func (r *makerRunner) generatedKeySigns(t *testing.T) {
	m, b := r.open(t)
	var publics []*ecdsa.PublicKey
	for range 2 {
		id := r.id()
		how, seen := r.how(t, proof(b, nil))
		made, err := m.Generate(t.Context(), id, how)
		if err != nil {
			t.Fatal(err)
		}
		r.wantKey(t, b, id, made)
		if len(seen.proved) != 1 || len(seen.begun) == 0 {
			t.Errorf("proved %d times in %d steps", len(seen.proved), len(seen.begun))
		}
		if diff := cmp.Diff(seen.begun, seen.ended); diff != "" {
			t.Errorf("begun and ended steps differ:\n%s", diff)
		}
		noneOf(t, r.Secrets, append(seen.said, made.Notes...)...)
		publics = append(publics, made.PublicKey)
	}
	if publics[0].Equal(publics[1]) {
		t.Error("two keys are one")
	}
}

// wantKey fails unless b knows the key that was made, by its id.
func (r *makerRunner) wantKey(t *testing.T, b backends.KeyBackend, id string, made backends.Made) {
	t.Helper()
	info, err := b.Describe(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if made.PublicKey == nil || !info.PublicKey.Equal(made.PublicKey) || info.CanonicalID != made.CanonicalID || info.InProcess != made.InProcess {
		t.Errorf("made %v, and Describe says %v", made.KeyInfo, info)
	}
	if err := proof(b, made.PublicKey)(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func (r *makerRunner) importedKeySigns(t *testing.T) {
	m, b := r.open(t)
	for range 2 {
		id := r.id()
		key, secrets := r.private(t)
		how, seen := r.how(t, proof(b, key.Public()))
		made, err := m.Import(t.Context(), id, key, how)
		key.Wipe()
		if err != nil {
			t.Fatal(err)
		}
		r.wantKey(t, b, id, made)
		if !made.PublicKey.Equal(key.Public()) {
			t.Error("another public half than the file's")
		}
		if len(seen.proved) != 1 {
			t.Errorf("proved %d times", len(seen.proved))
		}
		noneOf(t, secrets, append(seen.said, made.Notes...)...)
	}
}

func (r *makerRunner) planIsDone(t *testing.T) {
	m, b := r.open(t)
	id := r.id()
	how, _ := r.how(t, nil) // it is not asked
	plan, err := m.PlanImport(t.Context(), id, how)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Describe(t.Context(), id)
	(&runner{Harness{Secrets: r.Secrets}}).wantKind(t, err, "describe", backends.ErrKeyNotFound)
	key, _ := r.private(t)
	defer key.Wipe()
	how, seen := r.how(t, proof(b, key.Public()))
	if _, err := m.Import(t.Context(), id, key, how); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan, seen.begun); diff != "" {
		t.Errorf("planned and done:\n%s", diff)
	}
	if diff := cmp.Diff(plan, seen.ended); diff != "" {
		t.Errorf("planned and ended:\n%s", diff)
	}
}

func (r *makerRunner) noneIsReplaced(t *testing.T) {
	m, b := r.open(t)
	id := r.id()
	how, _ := r.how(t, proof(b, nil))
	made, err := m.Generate(t.Context(), id, how)
	if err != nil {
		t.Fatal(err)
	}
	how, seen := r.how(t, proof(b, nil))
	_, err = m.Generate(t.Context(), id, how)
	r.wantMakingError(t, err, "generate", backends.ErrKeyExists)
	key, _ := r.private(t)
	defer key.Wipe()
	_, err = m.Import(t.Context(), id, key, how)
	r.wantMakingError(t, err, "import", backends.ErrKeyExists)
	if len(seen.proved) > 0 {
		t.Error("a key was made first")
	}
	r.wantKey(t, b, id, made)
}

func (r *makerRunner) importedAgain(t *testing.T) {
	m, b := r.open(t)
	id := r.id()
	key, _ := r.private(t)
	defer key.Wipe()
	how, _ := r.how(t, proof(b, key.Public()))
	first, err := m.Import(t.Context(), id, key, how)
	if err != nil {
		t.Fatal(err)
	}
	how, seen := r.how(t, proof(b, key.Public()))
	again, err := m.Import(t.Context(), id, key, how)
	if err != nil {
		t.Fatal(err)
	}
	if again.CanonicalID != first.CanonicalID || len(seen.proved) != 1 || len(again.Notes) == 0 {
		t.Errorf("again %s after %s, proved %d times, with the notes %q", again.CanonicalID, first.CanonicalID, len(seen.proved), again.Notes)
	}
	r.wantKey(t, b, id, again)
}

// errUnproved is what a proof of the test fails with.
var errUnproved = errors.New("not proved")

func (r *makerRunner) notProved(t *testing.T) {
	m, b := r.open(t)
	fails := func(context.Context, string) error { return errUnproved }
	key, secrets := r.private(t)
	defer key.Wipe()
	for op, run := range map[string]func(id string, how backends.Making) (backends.Made, error){
		"generate": func(id string, how backends.Making) (backends.Made, error) { return m.Generate(t.Context(), id, how) },
		"import": func(id string, how backends.Making) (backends.Made, error) {
			return m.Import(t.Context(), id, key, how)
		},
	} {
		id := r.id()
		how, _ := r.how(t, fails)
		_, err := run(id, how)
		if !errors.Is(err, errUnproved) {
			t.Fatalf("%s: %v", op, err)
		}
		noneOf(t, secrets, err.Error())
		left, unfinished := errors.AsType[*backends.UnfinishedError](err)
		if unfinished != r.LeavesKeys {
			t.Errorf("%s: %v, names what is left: %v, want %v", op, err, unfinished, r.LeavesKeys)
		}
		if unfinished && (len(left.Left) == 0 || left.Left[0].What == "" || left.Left[0].Remove == "") {
			t.Errorf("%s: nothing said of what is left: %v", op, err)
		}
		_, err = b.Describe(t.Context(), id)
		(&runner{Harness{Secrets: r.Secrets}}).wantKind(t, err, "describe", backends.ErrKeyNotFound)
		if r.LeavesKeys {
			continue
		}
		how, _ = r.how(t, proof(b, nil))
		if _, err := run(id, how); err != nil {
			t.Errorf("%s, once more: %v", op, err)
		}
	}
}

func (r *makerRunner) refused(t *testing.T) {
	m, b := r.open(t)
	key, _ := r.private(t)
	defer key.Wipe()
	how, seen := r.how(t, proof(b, nil))
	for _, id := range append([]string{""}, r.Malformed...) {
		_, err := m.Generate(t.Context(), id, how)
		r.wantMakingError(t, err, "generate", backends.ErrNotMade)
		_, err = m.Import(t.Context(), id, key, how)
		r.wantMakingError(t, err, "import", backends.ErrNotMade)
		_, err = m.PlanImport(t.Context(), id, how)
		r.wantMakingError(t, err, "plan", backends.ErrNotMade)
	}
	how.Settings = map[string]string{"colour": "red"}
	id := r.id()
	_, err := m.Generate(t.Context(), id, how)
	r.wantMakingError(t, err, "generate", backends.ErrNotMade)
	if !strings.Contains(err.Error(), "colour") {
		t.Errorf("%v does not name the setting", err)
	}
	_, err = m.Import(t.Context(), id, key, how)
	r.wantMakingError(t, err, "import", backends.ErrNotMade)
	_, err = m.PlanImport(t.Context(), id, how)
	r.wantMakingError(t, err, "plan", backends.ErrNotMade)
	if len(seen.begun) > 0 {
		t.Errorf("something was done first: %v", seen.begun)
	}
}

func (r *makerRunner) twoAtOnce(t *testing.T) {
	id := r.id()
	_, b := r.open(t)
	results := make(chan error, 2)
	for range 2 {
		m, _ := r.open(t)
		how, _ := r.how(t, proof(b, nil))
		go func() {
			_, err := m.Generate(t.Context(), id, how)
			results <- err
		}()
	}
	made := 0
	for range 2 {
		err := <-results
		switch {
		case err == nil:
			made++
		case !errors.Is(err, backends.ErrKeyExists) && !errors.Is(err, backends.ErrUnfinished):
			t.Errorf("the other says %v", err)
		}
	}
	if made > 1 {
		t.Error("both made the key")
	}
	if _, err := b.Describe(t.Context(), id); made == 1 && err != nil {
		t.Errorf("the key that was made: %v", err)
	}
}

func (r *makerRunner) cancelled(t *testing.T) {
	m, b := r.open(t)
	key, _ := r.private(t)
	defer key.Wipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	how, seen := r.how(t, proof(b, nil))
	id := r.id()
	start := time.Now()
	_, generating := m.Generate(ctx, id, how)
	_, importing := m.Import(ctx, id, key, how)
	_, planning := m.PlanImport(ctx, id, how)
	for _, err := range []error{generating, importing, planning} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v after the end of the context", err)
		}
	}
	if took := time.Since(start); took > soon {
		t.Errorf("three calls took %v after the context's end", took)
	}
	if len(seen.proved) > 0 {
		t.Error("a key was made")
	}
}

func (r *makerRunner) closing(t *testing.T) {
	m := r.OpenMaker(t)
	if err := m.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}
