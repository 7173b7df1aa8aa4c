package signer

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/token"
)

// Sign signs the set with the key that its profile names. It returns soon
// after ctx ends. The error is one of this package's, the context's, or a
// *backends.Error.
func (s *Signer) Sign(ctx context.Context, set claims.Set) (Signed, error) {
	sealed, err := s.Seal(ctx, set)
	if err != nil {
		return Signed{}, err
	}
	return sealed.Open(ctx)
}

// Sealed is a token that nobody may have yet: its signature is still to be made, or its
// record is on its way. It is for one goroutine.
type Sealed struct {
	making *making // nil when the signature is made
	signed Signed  // then
	record Record  // nil where nothing is recorded
}

// making is a signature that is under way in this process, or waits for its turn.
type making struct {
	unsigned
	member *member
	at     *place
}

// unsigned is a token that lacks its signature.
type unsigned struct {
	input  token.SigningInput
	digest backends.Digest
	kid    string
}

// Seal is Sign without the waiting, for who wants several tokens: by a key in this
// process for the turn to sign, and by any for the record, of which one wait is enough
// for all.
func (s *Signer) Seal(ctx context.Context, set claims.Set) (Sealed, error) {
	if set.Payload() == nil {
		return Sealed{}, ErrUnapproved
	}
	k, err := s.key(set.Key())
	if err != nil {
		return Sealed{}, err
	}
	if k.Checkpoints {
		return Sealed{}, ErrUnapproved
	}
	caller := set.Grant().Caller().String()
	at, err := k.admit(caller)
	if err != nil { // how many they are is not recorded: a flood would be one of the disk too
		return Sealed{}, err
	}
	var sealed Sealed
	if s.record != nil {
		if sealed.record, err = s.record.Begin(ctx, set, k.inside()); err != nil {
			at.leave()
			return Sealed{}, err
		}
	}
	if m := k.alone(); m != nil && at.in(m.store) {
		sealed.making = k.start(ctx, m, set, at)
		return sealed, nil
	}
	defer at.leave()
	signed, err := k.token(ctx, set, caller, at)
	err = sealed.made(ctx, signed, err)
	return sealed, err
}

// Signed waits for the signature alone, and has it recorded. Open does so too.
func (s *Sealed) Signed(ctx context.Context) error {
	if s.making == nil {
		return nil
	}
	signed, err := s.making.token(ctx)
	s.making = nil
	return s.made(ctx, signed, err)
}

// Open returns the token when its record is confirmed.
func (s *Sealed) Open(ctx context.Context) (Signed, error) {
	if err := s.Signed(ctx); err != nil {
		return Signed{}, err
	}
	if s.record != nil {
		if err := s.record.Confirmed(ctx); err != nil {
			return Signed{}, err
		}
	}
	return s.signed, nil
}

// made takes what came of a signature, and has it recorded.
func (s *Sealed) made(ctx context.Context, signed Signed, err error) error {
	if s.record != nil {
		err = errors.Join(err, s.record.End(ctx, signed, err))
	}
	if err != nil {
		return err
	}
	s.signed = signed
	return nil
}

// alone returns the only member of a key, where it is in this process and can be
// asked; nil for any other key.
func (k *key) alone() *member {
	if len(k.members) != 1 || !k.inside() || k.usable() != nil {
		return nil
	}
	return k.members[0]
}

// start has a member in this process sign a set, in its turn.
func (k *key) start(ctx context.Context, m *member, set claims.Set, at *place) *making {
	one := &making{k.unsigned(set), m, at}
	at.start(ctx, func() (backends.Signature, error) { return m.answer(ctx, one.digest) })
	return one
}

// token waits for the signature, and returns the token that has it.
func (m *making) token(ctx context.Context) (Signed, error) {
	signature, err := m.at.wait(ctx)
	return m.signed(m.member.release(signature, err, m.digest))
}

// unsigned returns a set's token without its signature. The key has been read.
func (k *key) unsigned(set claims.Set) unsigned {
	info := k.info.Load()
	input := token.NewSigningInput(header(info.head, set), set.Payload())
	return unsigned{input, sha256.Sum256(input.Bytes()), info.kid}
}

// signed returns the token with the signature, or why there is none.
func (u *unsigned) signed(signature backends.Signature, err error) (Signed, error) {
	if err != nil {
		return Signed{}, err
	}
	return Signed{u.input.Join(signature), u.kid}, nil
}
