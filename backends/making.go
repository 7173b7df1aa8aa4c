package backends

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Generator is a key store that was opened to make keys in it. It is an
// optional interface that only the command line asks for: a backend that can
// make keys exports an OpenMaker beside its Open, and what Open returns never
// has this method, so that nothing in the path of a request can reach it.
//
// A Generator has one caller, who closes it. Every call returns soon after its
// context ends, even while the store hangs.
type Generator interface {
	// Generate makes an ECDSA P-256 key that may sign and do nothing else, and
	// that never leaves the store where the store can see to that. The store
	// knows it by id afterwards. An id that names anything is refused with
	// [ErrKeyExists] and nothing is changed: no key is ever replaced.
	//
	// What cannot be repeated without making a second key is not repeated.
	// When Generate fails, it has taken away what it made; what it could not
	// take away, or does not know of, its error lists as an [*UnfinishedError].
	Generate(ctx context.Context, id string, how Making) (Made, error)

	// Close frees what the store holds. It is idempotent.
	Close() error
}

// An Importer is a key store that was opened to take in a private key from
// elsewhere. All that stands at [Generator] holds for it too.
type Importer interface {
	// PlanImport says what Import would do with the same arguments, in the same
	// order. It changes nothing, and asks the store for nothing but what it can
	// do.
	PlanImport(ctx context.Context, id string, how Making) ([]Step, error)

	// Import puts a copy of key into the store, which knows it by id
	// afterwards. Where the store allows it, the private key passes to it
	// encrypted under a key of the store's own; where not, Made's Notes say so.
	//
	// Import of the key that id names already is how a run goes on that was
	// interrupted after its last step: nothing is imported, the key is proved,
	// and Made's Notes say so. Any other key of that id is [ErrKeyExists].
	//
	// The caller wipes key.
	Import(ctx context.Context, id string, key *PrivateKey, how Making) (Made, error)

	// Close frees what the store holds. It is idempotent.
	Close() error
}

// Making is how a key is to be made, and who is asked and told meanwhile.
type Making struct {
	// Settings are the store's own, by the names in its documentation. One that
	// the store does not know is refused with [ErrNotMade].
	Settings map[string]string

	// Prove is asked about the new key, by the id under which a KeyBackend over
	// the same URI knows it at that moment. It comes before the step that gives
	// the key its lasting id, where the store has such a step. Its error undoes
	// the making, unless the store may only not know the key yet: then it is
	// asked again.
	Prove func(ctx context.Context, id string) error

	// Random is where the secrets come from that the program itself makes:
	// crypto/rand's Reader.
	Random io.Reader

	// Report, where it is not nil, is told of each step twice: before it, with
	// an empty outcome, and when it has succeeded, with what came of it. A
	// program that is killed has said by then what it may have left.
	Report func(step Step, outcome string)
}

// Begin reports a step.
func (m Making) Begin(step Step) {
	if m.Report != nil {
		m.Report(step, "")
	}
}

// End reports what came of a step; "done" where there is nothing to say.
func (m Making) End(step Step, outcome string) {
	if outcome == "" {
		outcome = "done"
	}
	if m.Report != nil {
		m.Report(step, outcome)
	}
}

// Step is one thing that is done to a store.
type Step struct {
	Does  string // in words, such as "create a key without key material"
	Needs string // the permissions that it needs in the store's own terms; empty for none
}

// Made is a key that a store has made or taken in.
type Made struct {
	KeyInfo
	Notes []string // what the operator should know of how it went
}

// Kinds of failure that only a Generator and an Importer have. They are not
// among [Kinds]: no call of a service ends with one.
var (
	// ErrKeyExists: the id names something already.
	ErrKeyExists = errors.New("a key of that name exists")
	// ErrUnfinished: an earlier run left something, or another is under way.
	ErrUnfinished = errors.New("an earlier run was not finished")
	// ErrNotMade: the store does not make such a key, or not under such an id.
	ErrNotMade = errors.New("no such key can be made")
)

// A Remnant is what a run left in a store.
type Remnant struct {
	What   string // which thing, such as "the KMS key ARN, which has no key material"
	Remove string // the command that removes it
	Resume string // the setting, NAME=VALUE, with which another run goes on with it; empty when none can
}

// Command writes a command line for a shell.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:,=+@%-") != "" {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// An UnfinishedError says what is left in the store. It is the cause inside an
// [*Error], and wraps why the run could not be finished.
type UnfinishedError struct {
	Left []Remnant
	Err  error // nil when the Kind of the Error says it all
}

// Error says why, what is left and what to do about it, in one line.
func (e *UnfinishedError) Error() string {
	var b strings.Builder
	if e.Err != nil {
		b.WriteString(e.Err.Error() + ": ")
	}
	for i, r := range e.Left {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString("left is " + r.What)
		if r.Resume != "" {
			b.WriteString(", go on with it by --set " + r.Resume)
		}
		if r.Remove != "" {
			b.WriteString(", remove it by " + r.Remove)
		}
	}
	return b.String()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Leaving adds to an error what is left in the store.
func Leaving(err error, left ...Remnant) error {
	if named := (*Error)(nil); isBare(err, &named) {
		return &Error{Kind: named.Kind, RetryAfter: named.RetryAfter, Err: &UnfinishedError{Left: left, Err: named.Err}}
	}
	return &UnfinishedError{Left: left, Err: err}
}

// Failed makes of what a making ended with the error that leaves the backend:
// the context's own as it is, everything else an *[Error] with operation and
// id, of the Kind that err wraps, or else ErrUnavailable.
func Failed(op, id string, err error) error {
	if err == nil {
		return nil
	}
	if named := (*Error)(nil); isBare(err, &named) {
		return &Error{Op: op, KeyID: id, Kind: named.Kind, RetryAfter: named.RetryAfter, Err: named.Err}
	}
	for _, kind := range append(Kinds(), ErrKeyExists, ErrUnfinished, ErrNotMade) {
		if errors.Is(err, kind) {
			return &Error{Op: op, KeyID: id, Kind: kind, Err: err}
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, id, err)
	}
	return &Error{Op: op, KeyID: id, Kind: ErrUnavailable, Err: err}
}

// isBare says whether err itself, and not what it wraps, is an *Error that names
// no operation yet.
func isBare(err error, named **Error) bool {
	e, ok := err.(*Error) //nolint:errorlint // what it wraps is another's
	if ok {
		*named = e
	}
	return ok && e.Op == ""
}
