package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jotsmith/jotsmith/service/audit"
	"github.com/jotsmith/jotsmith/service/authn"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/halt"
	"github.com/jotsmith/jotsmith/service/ledger"
	"github.com/jotsmith/jotsmith/service/policy"
	"github.com/jotsmith/jotsmith/service/reuse"
	"github.com/jotsmith/jotsmith/service/rotation"
	"github.com/jotsmith/jotsmith/service/signer"
)

// NewRecorder returns what has each signature of a generation recorded before
// it is made and after, and its token noted in the ledger. log is nil where
// nothing is recorded.
func NewRecorder(log *audit.Log, tokens *ledger.Ledger, generation string) signer.Recorder {
	return recorder{log, tokens, generation}
}

// SignCheckpoint signs a checkpoint of the audit log with the key that is for
// it, under the configuration that answers now, and returns its kid.
func (s *Service) SignCheckpoint(ctx context.Context, key string, digest [sha256.Size]byte) (sig [64]byte, kid string, err error) {
	in, err := s.use()
	if err != nil {
		return sig, "", err
	}
	defer in.release()
	return in.Signer.SignCheckpoint(ctx, key, digest)
}

// recorder records signatures in the audit log and the ledger.
type recorder struct {
	log        *audit.Log
	tokens     *ledger.Ledger
	generation string
}

// recordTime is how long the record of a result may take.
const recordTime = 5 * time.Second

// Begin records that a set is about to be signed.
func (r recorder) Begin(ctx context.Context, set claims.Set, inside bool) (signer.Record, error) {
	switch {
	case r.log == nil:
		return unrecorded{r, set}, nil
	case inside:
		return &inner{recorder: r, set: set}, nil
	}
	pending, err := r.log.Begin(ctx, intent(r.generation, set.Draft()))
	return outer{r, set, pending}, err
}

// unrecorded is a signature that the ledger alone takes note of.
type unrecorded struct {
	recorder
	set claims.Set
}

// End notes a token.
func (u unrecorded) End(ctx context.Context, signed signer.Signed, err error) error {
	if err == nil { // else there is no token, and the signer knows why
		return u.note(ctx, u.set, signed)
	}
	return nil
}

// Confirmed has nothing to wait for.
func (unrecorded) Confirmed(context.Context) error { return nil }

// outer is the record of a signature that is made elsewhere: an intent, which stands
// before anybody can have the signature, and a result.
type outer struct {
	recorder
	set     claims.Set
	pending audit.Pending
}

// End records the result, for a caller who has gone too.
func (o outer) End(ctx context.Context, signed signer.Signed, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	result, unnoted := o.result(ctx, o.set, signed, err)
	return errors.Join(unnoted, o.pending.End(ctx, result))
}

// Confirmed has nothing to wait for: End has.
func (outer) Confirmed(context.Context) error { return nil }

// inner is the record of a signature that is made in this process: one, which has to
// stand before the token leaves.
type inner struct {
	recorder
	set     claims.Set
	receipt audit.Receipt
}

// End has a token recorded when Confirmed waits for it, and a failure at once, for a
// caller who has gone too.
func (i *inner) End(ctx context.Context, signed signer.Signed, err error) error {
	result, unnoted := i.result(ctx, i.set, signed, err)
	if result.Outcome == audit.Minted {
		i.receipt, err = i.log.Put(intent(i.generation, i.set.Draft()), result)
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	return errors.Join(unnoted, i.log.Note(ctx, intent(i.generation, i.set.Draft()), result))
}

// Confirmed waits for the record.
func (i *inner) Confirmed(ctx context.Context) error { return i.receipt.Wait(ctx) }

// result is what the log says of a signature, which the ledger notes; where it cannot,
// there is no token.
func (r recorder) result(ctx context.Context, set claims.Set, signed signer.Signed, err error) (result audit.Result, unnoted error) {
	if err == nil {
		unnoted = r.note(ctx, set, signed)
		err = unnoted
	}
	if err != nil {
		return audit.Result{Outcome: audit.Failed, Reason: reasonOf(toStatus(err))}, unnoted
	}
	return audit.Result{
		Outcome: audit.Minted, KID: signed.KID, JTI: set.JTI(),
		Digest:    signed.Token.Digest(),
		IssueTime: set.IssueTime(), ExpireTime: set.ExpireTime(),
	}, nil
}

// note notes in the ledger that there is a token more.
func (r recorder) note(ctx context.Context, set claims.Set, signed signer.Signed) error {
	err := r.tokens.Issued(ctx, set.Draft().Profile().Name, signed.KID, set.IssueTime(), set.EndTime())
	if err != nil {
		return fmt.Errorf("%w: ledger: %w", audit.ErrUnavailable, err)
	}
	return nil
}

// intent is what the log says of an approved request.
func intent(generation string, draft claims.Draft) audit.Intent {
	profile, grant := draft.Profile(), draft.Grant()
	in := audit.Intent{
		Generation: generation,
		Caller:     grant.Caller().String(),
		Proof:      grant.Caller().Proof(),
		Grant:      grant.Rule(),
		Profile:    profile.Name,
		Key:        profile.Key,
		TTL:        draft.Life(),
	}
	for name, value := range draft.Given() {
		in.Claims = append(in.Claims, audit.Claim{Name: name, Value: value, Shown: slices.Contains(profile.AuditShows, name)})
	}
	return in
}

// RecordVersion returns what has a change of a key's versions recorded before it
// is made; log is nil where nothing is recorded.
func RecordVersion(log *audit.Log) func(context.Context, rotation.Change) error {
	if log == nil {
		return func(context.Context, rotation.Change) error { return nil }
	}
	return func(ctx context.Context, c rotation.Change) error {
		act := audit.Act{
			Caller: c.By, Proof: c.Proof, Target: "key " + c.Key, Change: c.String(), KID: c.KID, Forced: c.Force, Why: c.Why,
		}
		switch {
		case c.By == "":
		case c.To == rotation.Gone:
			act.Method = "DropKeyVersion"
		default:
			act.Method = "RotateKey"
		}
		return log.Act(ctx, act)
	}
}

// recordReuse records that a caller gets a token that was signed for another
// request; done says that there is nothing to wait for. The signature's own record
// names whoever asked for it.
func (s *Service) recordReuse(ctx context.Context, in *Generation, draft claims.Draft, token reuse.Token) (receipt audit.Receipt, done bool, err error) {
	if s.Audit == nil || token.Own {
		return audit.Receipt{}, true, nil
	}
	result := audit.Result{
		Outcome: audit.Minted, KID: token.KID, JTI: token.JTI, Digest: token.Digest,
		IssueTime: token.IssueTime, ExpireTime: token.ExpireTime, Reused: true,
	}
	if token.Holders.Has(holder(in, draft.Grant())) {
		return audit.Receipt{}, true, s.Audit.Again(ctx, intent(in.ID, draft), result)
	}
	receipt, err = s.Audit.Put(intent(in.ID, draft), result)
	return receipt, false, err
}

// holder is who gets a token by a grant.
func holder(in *Generation, grant policy.Grant) reuse.Holder {
	return reuse.Holder{Caller: grant.Caller().String(), Grant: grant.Rule(), Generation: in.ID}
}

// recordRefusal records a request that was refused for what it is. One refused
// for how many there are is not recorded: a flood would be one of the disk too.
func (s *Service) recordRefusal(ctx context.Context, in *Generation, caller authn.Caller, profile string, err error) {
	if s.Audit == nil || !refused(err) || !s.refusals.allow(ctx, caller.Known(), s.Log) {
		return
	}
	intent := audit.Intent{Generation: in.ID, Caller: caller.String(), Proof: caller.Proof(), Profile: short(profile)}
	if err := s.Audit.Note(ctx, intent, audit.Result{Outcome: audit.Refused, Reason: reasonOf(toStatus(err))}); err != nil {
		s.Log.ErrorContext(ctx, "refusal not recorded", "error", err)
	}
}

// refused says whether an error is the service's own no to a request.
func refused(err error) bool {
	if _, ok := errors.AsType[*claims.Refusal](err); ok {
		return true
	}
	return errors.Is(err, ErrUnauthenticated) || errors.Is(err, policy.ErrNotGranted) || errors.Is(err, halt.ErrHalted)
}
