package awskms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"golang.org/x/sync/errgroup"

	"github.com/jotsmith/jotsmith/backends"
)

const (
	makeTimeout = 30 * time.Second       // one try: an RSA key is made in it
	settleTime  = 20 * time.Second       // KMS is eventually consistent: a new key may be unknown for so long
	settlePause = 250 * time.Millisecond //
	lookups     = 16                     // calls of DescribeKey at once
)

// Maker makes keys in one Region of KMS. It is no KeyBackend: what serves cannot
// make keys.
//
// The alias, by which the configuration knows the key, comes last, after the
// proof. A key whose making was not finished has none, and so is never used; it
// is not taken away again, which would need the permission to delete keys: the
// error says which it is.
type Maker struct {
	b *Backend
}

var (
	_ backends.Generator = (*Maker)(nil)
	_ backends.Importer  = (*Maker)(nil)
)

// OpenMaker opens KMS as [Open] does. It does not ask KMS.
func OpenMaker(ctx context.Context, uri string, log *slog.Logger) (*Maker, error) {
	b, err := Open(ctx, uri, log)
	if err != nil {
		return nil, err
	}
	b.tryTimeout = makeTimeout
	return &Maker{b}, nil
}

// Close implements both interfaces.
func (m *Maker) Close() error { return m.b.Close() }

// Generate implements [backends.Generator].
func (m *Maker) Generate(ctx context.Context, id string, how backends.Making) (backends.Made, error) {
	made, err := m.run(ctx, id, nil, how)
	return made, backends.Failed("generate", id, err)
}

// PlanImport implements [backends.Importer]. It asks KMS nothing.
func (*Maker) PlanImport(ctx context.Context, id string, how backends.Making) ([]backends.Step, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k, err := newMaking(id, how.Settings, true)
	if err != nil {
		return nil, backends.Failed("plan", id, err)
	}
	return k.steps(true), nil
}

// Import implements [backends.Importer]. The key is encrypted under a key of
// KMS's own on the way.
func (m *Maker) Import(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	made, err := m.run(ctx, id, key, how)
	return made, backends.Failed("import", id, err)
}

// job is one making under way.
type job struct {
	making
	*Maker
	how   backends.Making
	key   *backends.PrivateKey // nil when KMS makes it
	arn   string               // of the new key, once there is one
	notes []string
}

func (m *Maker) run(ctx context.Context, id string, key *backends.PrivateKey, how backends.Making) (backends.Made, error) {
	if err := ctx.Err(); err != nil {
		return backends.Made{}, err
	}
	k, err := newMaking(id, how.Settings, key != nil)
	if err != nil {
		return backends.Made{}, err
	}
	j := &job{making: k, Maker: m, how: how, key: key}
	if done, err := j.free(ctx); done || err != nil {
		return j.finished(ctx, err)
	}
	pending, err := j.begin(ctx)
	if err != nil {
		return backends.Made{}, err
	}
	if key != nil && pending {
		if err := j.fill(ctx); err != nil {
			return backends.Made{}, j.leaving(err)
		}
	}
	if err := j.prove(ctx, j.arn); err != nil {
		return backends.Made{}, j.leaving(err)
	}
	if err := j.name(ctx); err != nil {
		return backends.Made{}, j.leaving(err)
	}
	return j.finished(ctx, nil)
}

// free sees to it that the alias names no key. Of an import, the alias may name
// the very key: then it is done once that is proved.
func (j *job) free(ctx context.Context) (done bool, err error) {
	step := j.stepFree()
	j.how.Begin(step)
	info, err := j.b.describe(ctx, j.alias)
	switch {
	case errors.Is(err, backends.ErrKeyNotFound):
		j.how.End(step, "")
		return false, nil
	case err == nil && j.key != nil && info.PublicKey.Equal(j.key.Public()):
		j.how.End(step, "it names "+info.CanonicalID+", which is this key")
		j.arn = info.CanonicalID
		j.notes = append(j.notes, "nothing was imported: "+j.alias+" named this key already, "+j.arn)
		return true, j.prove(ctx, j.alias)
	case err == nil:
		return false, &backends.Error{Kind: backends.ErrKeyExists, Err: fmt.Errorf("%s names %s: choose another alias", j.alias, info.CanonicalID)}
	case errors.Is(err, backends.ErrKeyDisabled), errors.Is(err, backends.ErrKeyUnsuitable):
		return false, &backends.Error{Kind: backends.ErrKeyExists, Err: fmt.Errorf("%s names a key: %w: choose another alias", j.alias, err)}
	}
	return false, err
}

// begin gets the key to go on with, and says whether it has no material.
func (j *job) begin(ctx context.Context) (pending bool, err error) {
	switch j.resume {
	case "":
		if err := j.remnants(ctx); err != nil {
			return false, err
		}
	case resumeNone:
	default:
		return j.goOn(ctx)
	}
	return j.key != nil, j.create(ctx)
}

// remnants refuses to go on while there are keys that an earlier run made for
// this alias and that it does not name.
func (j *job) remnants(ctx context.Context) error {
	step := j.stepRemnants()
	j.how.Begin(step)
	found, unseen, err := j.find(ctx)
	switch {
	case errors.Is(err, backends.ErrAccessDenied):
		j.how.End(step, "not allowed: nobody looked")
		j.notes = append(j.notes, "keys that an interrupted run may have left were not looked for, for want of kms:ListKeys")
		return nil
	case err != nil:
		return err
	case len(found) > 0:
		return &backends.Error{Kind: backends.ErrUnfinished, Err: &backends.UnfinishedError{
			Left: found,
			Err:  errors.New("unless another run is under way, it was interrupted before its key had the alias; --set resume=none makes a new key all the same"),
		}}
	case unseen > 0:
		j.how.End(step, fmt.Sprintf("none among those that may be looked at; %d may not", unseen))
		return nil
	}
	j.how.End(step, "none")
	return nil
}

// find describes every key of the Region and returns those that were made for
// the alias, and how many may not be described.
func (j *job) find(ctx context.Context) (found []backends.Remnant, unseen int, err error) {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	in := kms.ListKeysInput{}
	for {
		var out *kms.ListKeysOutput
		err := j.b.call(ctx, false, func(ctx context.Context) (err error) {
			out, err = j.b.client.ListKeys(ctx, &in)
			return err
		})
		if err != nil {
			return nil, 0, errors.Join(err, group.Wait())
		}
		for _, entry := range out.Keys {
			group.Go(func() error {
				metadata, err := j.metadata(ctx, aws.ToString(entry.KeyArn))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, backends.ErrAccessDenied), errors.Is(err, backends.ErrKeyNotFound):
					unseen++
				case err != nil:
					return err
				case j.isMine(metadata):
					found = append(found, remnant(metadata))
				}
				return nil
			})
		}
		if !out.Truncated {
			return found, unseen, group.Wait()
		}
		in.Marker = out.NextMarker
	}
}

func (j *job) metadata(ctx context.Context, keyARN string) (*types.KeyMetadata, error) {
	var out *kms.DescribeKeyOutput
	err := j.b.call(ctx, false, func(ctx context.Context) (err error) {
		out, err = j.b.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &keyARN})
		return err
	})
	if err == nil && out.KeyMetadata == nil {
		err = &backends.Error{Kind: backends.ErrUnavailable, Err: errors.New("KMS answered DescribeKey without metadata")}
	}
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

// isMine says whether a key was made for the alias and can still be used.
func (j *job) isMine(m *types.KeyMetadata) bool {
	return strings.HasSuffix(aws.ToString(m.Description), j.mark()) &&
		m.KeyState != types.KeyStatePendingDeletion && m.KeyState != types.KeyStatePendingReplicaDeletion
}

func remnant(m *types.KeyMetadata) backends.Remnant {
	keyARN := aws.ToString(m.Arn)
	what := fmt.Sprintf("the KMS key %s of %s, in the state %s", keyARN, aws.ToTime(m.CreationDate).UTC().Format(time.RFC3339), m.KeyState)
	return backends.Remnant{What: what, Remove: removal(keyARN), Resume: "resume=" + keyARN}
}

// removal is the command that schedules a key's deletion; it can be taken back
// for a week.
func removal(keyARN string) string {
	region, _, _ := splitARN(keyARN)
	return "aws kms schedule-key-deletion --region " + region + " --pending-window-in-days 7 --key-id " + keyARN
}

// leaving adds to an error the key that was made.
func (j *job) leaving(err error) error {
	left := backends.Remnant{What: "the KMS key " + j.arn + ", without an alias", Remove: removal(j.arn)}
	if !errors.Is(err, backends.ErrKeyMismatch) && !errors.Is(err, backends.ErrSignatureInvalid) {
		left.Resume = "resume=" + j.arn
	}
	return backends.Leaving(err, left)
}

// goOn takes the key that the operator names, if it is one that an earlier run
// made for this alias. The operator names it, and not this program, because
// whoever may create keys could have made one that looks so, with a key policy
// of his own.
func (j *job) goOn(ctx context.Context) (pending bool, err error) {
	step := j.stepResume()
	j.how.Begin(step)
	m, err := j.metadata(ctx, j.resume)
	if err != nil {
		return false, err
	}
	origin := types.OriginTypeAwsKms
	if j.key != nil {
		origin = types.OriginTypeExternal
	}
	switch {
	case aws.ToString(m.Arn) != j.resume:
		err = fmt.Errorf("KMS answered for %q", aws.ToString(m.Arn))
	case m.KeySpec != types.KeySpecEccNistP256 || m.KeyUsage != types.KeyUsageTypeSignVerify || m.Origin != origin:
		err = fmt.Errorf("the key is of the spec %s, the usage %s and the origin %s", m.KeySpec, m.KeyUsage, m.Origin)
	case !j.isMine(m):
		err = fmt.Errorf("its description does not end in %s, or it is to be deleted (%s)", j.mark(), m.KeyState)
	case m.KeyState != types.KeyStateEnabled && m.KeyState != types.KeyStatePendingImport:
		err = fmt.Errorf("it is in the state %s", m.KeyState)
	}
	if err != nil {
		return false, refused("no run for %s can go on with the key %s: %w", j.alias, j.resume, err)
	}
	j.arn = j.resume
	j.how.End(step, string(m.KeyState))
	return m.KeyState == types.KeyStatePendingImport, nil
}

// create makes the key, in one try: a second could make a second key.
func (j *job) create(ctx context.Context) error {
	step := j.stepCreate(j.key != nil)
	j.how.Begin(step)
	in := kms.CreateKeyInput{
		KeySpec:     types.KeySpecEccNistP256,
		KeyUsage:    types.KeyUsageTypeSignVerify,
		Description: aws.String(j.describe()),
		Tags:        j.tags,
	}
	if j.multiRegion {
		in.MultiRegion = aws.Bool(true)
	}
	if j.key != nil {
		in.Origin = types.OriginTypeExternal
	}
	var out *kms.CreateKeyOutput
	err := once(ctx, j.b.tryTimeout, func(ctx context.Context) (err error) {
		out, err = j.b.client.CreateKey(ctx, &in)
		return err
	})
	if err != nil {
		return j.notCreated(ctx, classify(err))
	}
	m := out.KeyMetadata
	if m == nil || !answersTo(aws.ToString(m.Arn), "alias/any", j.b.region) {
		return &backends.Error{Kind: backends.ErrUnavailable, Err: errors.New("KMS answered CreateKey without a key ARN of its Region")}
	}
	j.arn = aws.ToString(m.Arn)
	if m.KeySpec != in.KeySpec || m.KeyUsage != in.KeyUsage {
		return j.leaving(&backends.Error{
			Kind: backends.ErrKeyMismatch,
			Err:  fmt.Errorf("KMS created a key of the spec %s and the usage %s", m.KeySpec, m.KeyUsage),
		})
	}
	j.how.End(step, j.arn)
	return nil
}

// notCreated is the error of a CreateKey that failed. Where KMS did not say
// whether it made the key, it is looked for.
func (j *job) notCreated(ctx context.Context, f fault) error {
	err := error(&backends.Error{Kind: f.kind, Err: f.err})
	if f.answered && !errors.Is(f.kind, backends.ErrUnavailable) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.b.tryTimeout) // the question stays when the caller leaves
	defer cancel()
	found, _, looking := j.find(ctx)
	switch {
	case looking != nil:
		return backends.Leaving(err, backends.Remnant{
			What:   "perhaps a KMS key whose description ends in " + j.mark(),
			Remove: "aws kms schedule-key-deletion --region " + j.b.region + " --pending-window-in-days 7 --key-id its ARN",
		})
	case len(found) > 0:
		return backends.Leaving(err, found...)
	}
	return err
}

// fill imports the key material. An import token that KMS takes for expired or
// for another key's is replaced once.
func (j *job) fill(ctx context.Context) error {
	for renewed := false; ; renewed = true {
		err := j.fillOnce(ctx)
		expired, invalid := (*types.ExpiredImportTokenException)(nil), (*types.InvalidImportTokenException)(nil)
		if renewed || !errors.As(err, &expired) && !errors.As(err, &invalid) {
			return err
		}
	}
}

func (j *job) fillOnce(ctx context.Context) error {
	step := j.stepParameters()
	j.how.Begin(step)
	var parameters *kms.GetParametersForImportOutput
	err := j.settled(ctx, func() error {
		return j.b.call(ctx, false, func(ctx context.Context) (err error) {
			parameters, err = j.b.client.GetParametersForImport(ctx, &kms.GetParametersForImportInput{
				KeyId: &j.arn, WrappingAlgorithm: j.wrap, WrappingKeySpec: wrappingKeySpec,
			})
			return err
		})
	})
	if err != nil {
		return err
	}
	if got := aws.ToString(parameters.KeyId); got != j.arn {
		return &backends.Error{Kind: backends.ErrKeyMismatch, Err: fmt.Errorf("KMS answered with the wrapping key of %q", got)}
	}
	j.how.End(step, "")

	step = j.stepImport()
	j.how.Begin(step)
	material, err := wrap(j.how.Random, j.wrap, parameters.PublicKey, j.key)
	if err != nil {
		return &backends.Error{Kind: backends.ErrUnavailable, Err: err}
	}
	err = j.b.call(ctx, false, func(ctx context.Context) error {
		_, err := j.b.client.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{
			KeyId: &j.arn, ImportToken: parameters.ImportToken, EncryptedKeyMaterial: material,
			ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
		})
		return err
	})
	if err != nil {
		return err
	}
	j.how.End(step, "")
	return nil
}

// prove compares the public half and has the key proved, once KMS knows of it.
func (j *job) prove(ctx context.Context, id string) error {
	step := j.stepProve()
	j.how.Begin(step)
	err := j.settled(ctx, func() error {
		info, err := j.b.describe(ctx, id)
		switch {
		case err != nil:
			return err
		case info.CanonicalID != j.arn:
			return &backends.Error{Kind: backends.ErrKeyMismatch, Err: fmt.Errorf("KMS answered for %s", info.CanonicalID)}
		case j.key != nil && !info.PublicKey.Equal(j.key.Public()):
			return &backends.Error{Kind: backends.ErrKeyMismatch, Err: fmt.Errorf("KMS shows another key's public half for %s than the imported key's", j.arn)}
		}
		return j.how.Prove(ctx, id)
	})
	if err != nil {
		return err
	}
	j.how.End(step, "")
	return nil
}

// settled repeats what fails because KMS does not know of a change yet.
func (*job) settled(ctx context.Context, f func() error) error {
	for deadline := time.Now().Add(settleTime); ; {
		err := f()
		if !errors.Is(err, backends.ErrKeyNotFound) && !errors.Is(err, backends.ErrKeyDisabled) || time.Now().After(deadline) {
			return err
		}
		if sleep(ctx, settlePause) != nil {
			return err
		}
	}
}

// name points the alias at the key. An answer that was lost may have been yes.
func (j *job) name(ctx context.Context) error {
	step := j.stepAlias()
	j.how.Begin(step)
	err := j.b.call(ctx, false, func(ctx context.Context) error {
		_, err := j.b.client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &j.alias, TargetKeyId: &j.arn})
		return err
	})
	if errors.Is(err, backends.ErrKeyExists) {
		info, looking := j.b.describe(ctx, j.alias)
		if looking != nil || info.CanonicalID != j.arn {
			return err
		}
	} else if err != nil {
		return err
	}
	j.how.End(step, "")
	return nil
}

func (j *job) finished(ctx context.Context, err error) (backends.Made, error) {
	if err != nil {
		return backends.Made{}, err
	}
	info, err := j.b.describe(ctx, j.arn)
	if err != nil {
		return backends.Made{}, fmt.Errorf("the key is made and named, and cannot be described: %w", err)
	}
	if j.key != nil {
		j.notes = append(j.notes, "KMS gives the key out to nobody. If its key material is ever deleted there, KMS takes in none but the same again: only a copy of the file can bring it back")
	}
	return backends.Made{KeyInfo: info, Notes: j.notes}, nil
}
