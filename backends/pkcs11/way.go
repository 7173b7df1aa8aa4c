//go:build cgo && unix

package pkcs11

import (
	"context"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // in RSAES-OAEP it is as good as any, and all that some tokens have
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/big"
	"slices"
	"strings"

	p11 "github.com/miekg/pkcs11"
	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/jotsmith/jotsmith/backends"
)

// way is how a private key passes to a token. All but one begin with an RSA key
// pair that the token makes for the session, and whose private half never leaves
// it.
type way struct {
	name      string
	mechanism uint   // unwraps the private key, or 0
	others    []uint // what it takes besides
}

// ckmKeyWrapKWP is AES key wrap with padding (RFC 5649) since PKCS#11 v3.0. The
// older CKM_AES_KEY_WRAP_PAD is the same in the modules that have it.
const ckmKeyWrapKWP = 0x210B

// wayNone hands the private key to the module as it is.
const wayNone = "none"

// ways lists them, the best first. The first is one mechanism of the token for
// what the next two do in two steps: unwrap an AES key with the RSA key, and the
// private key with the AES key.
func ways() []way {
	return []way{
		{"CKM_RSA_AES_KEY_WRAP", p11.CKM_RSA_AES_KEY_WRAP, nil},
		{"CKM_AES_KEY_WRAP_KWP", ckmKeyWrapKWP, []uint{p11.CKM_RSA_PKCS_OAEP}},
		{"CKM_AES_KEY_WRAP_PAD", p11.CKM_AES_KEY_WRAP_PAD, []uint{p11.CKM_RSA_PKCS_OAEP}},
		{wayNone, 0, nil},
	}
}

func (w way) does() string {
	if w.name == wayNone {
		return "write the private key, which its module gets to see, by C_CreateObject"
	}
	return "wrap the private key under an RSA key of the token's own and unwrap it there by " + w.name
}

func (w way) note() string {
	if w.name == wayNone {
		return "the private key was handed to the module as it is (C_CreateObject): the module saw it, and so may whatever it speaks through to the token"
	}
	return "the private key passed to the token encrypted under a key of the token's own (" + w.name + "): its module did not see it"
}

// chooseWay asks the token for its mechanisms and takes the best way, or the one
// that the operator wants.
func (m *Maker) chooseWay(ctx context.Context, wanted string) (way, error) {
	all := ways()
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.name
	}
	if wanted != "" && !slices.Contains(names, wanted) {
		return way{}, refused("wrap=%s is none of %s", wanted, strings.Join(names, ", "))
	}
	if wanted == wayNone {
		return all[len(all)-1], nil
	}
	unwraps, err := m.unwraps(ctx)
	if err != nil {
		return way{}, err
	}
	for _, w := range all {
		possible := w.name == wayNone || unwraps[p11.CKM_RSA_PKCS_KEY_PAIR_GEN] && unwraps[w.mechanism] &&
			!slices.ContainsFunc(w.others, func(mechanism uint) bool { return !unwraps[mechanism] })
		if possible && (wanted == "" || wanted == w.name) {
			return w, nil
		}
	}
	return way{}, refused("the token cannot unwrap by %s; without the setting wrap the best way that it has is taken", wanted)
}

// unwraps returns the mechanisms that the token has of those that the ways need,
// for the use that they need them for.
func (m *Maker) unwraps(ctx context.Context) (map[uint]bool, error) {
	token, err := m.b.link.await(ctx)
	if err != nil {
		return nil, err
	}
	type answer struct {
		have map[uint]bool
		err  error
	}
	done := make(chan answer, 1)
	m.b.pool.wg.Go(func() {
		have, err := m.mechanisms(token)
		done <- answer{have, err}
	})
	select {
	case a := <-done:
		return a.have, ofMaking(a.err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *Maker) mechanisms(token *hsmToken) (map[uint]bool, error) {
	if err := m.b.module.enter(token.generation); err != nil {
		return nil, err
	}
	defer m.b.module.leave()
	list, err := m.b.module.ctx.GetMechanismList(token.slot)
	if err != nil {
		return nil, calling("C_GetMechanismList", err)
	}
	have := map[uint]bool{}
	for _, mechanism := range list {
		use := uint(p11.CKF_UNWRAP)
		switch mechanism.Mechanism {
		case p11.CKM_RSA_PKCS_KEY_PAIR_GEN:
			use = p11.CKF_GENERATE_KEY_PAIR
		case p11.CKM_RSA_AES_KEY_WRAP, p11.CKM_RSA_PKCS_OAEP, ckmKeyWrapKWP, p11.CKM_AES_KEY_WRAP_PAD:
		default:
			continue
		}
		info, err := m.b.module.ctx.GetMechanismInfo(token.slot, []*p11.Mechanism{mechanism})
		have[mechanism.Mechanism] = err == nil && info.Flags&use != 0
	}
	return have, nil
}

// take has the token take in the private key.
func (w way) take(s *session, j *job) (p11.ObjectHandle, error) {
	if w.name == wayNone {
		template := append(j.privateTemplate(),
			p11.NewAttribute(p11.CKA_EC_PARAMS, []byte(oidP256)), p11.NewAttribute(p11.CKA_VALUE, j.key.Scalar()))
		handle, err := s.ctx.CreateObject(s.handle, template)
		return handle, calling("C_CreateObject", err)
	}
	der, err := j.key.PKCS8()
	if err != nil {
		return 0, err
	}
	defer clear(der)
	ephemeral := make([]byte, 32)
	defer clear(ephemeral)
	if _, err := io.ReadFull(j.how.Random, ephemeral); err != nil {
		return 0, err
	}
	cipher, err := kwp.NewKWP(ephemeral)
	if err != nil {
		return 0, err
	}
	wrapped, err := cipher.Wrap(der)
	if err != nil {
		return 0, errors.New("the key cannot be wrapped")
	}
	public, private, err := rsaPair(s)
	if err != nil {
		return 0, err
	}
	// Not every token hashes by SHA-256 here: SoftHSM takes SHA-1 alone.
	handle, err := w.unwrap(s, j, oaep{sha256.New(), p11.CKM_SHA256, p11.CKG_MGF1_SHA256}, public, private, ephemeral, wrapped)
	if refusesParameter(err) {
		handle, err = w.unwrap(s, j, oaep{sha1.New(), p11.CKM_SHA_1, p11.CKG_MGF1_SHA1}, public, private, ephemeral, wrapped) //nolint:gosec // see the import
	}
	if _, step := judge(err); err != nil && step == rungNone {
		return 0, fail(backends.ErrNotMade, "%w: the token lists %s and does not do this by it: "+
			"--set wrap=NAME asks for another way, wrap=none for the last", err, w.name)
	}
	return handle, err
}

// oaep is how RSAES-OAEP hashes.
type oaep struct {
	hash      hash.Hash
	mechanism uint
	mgf       uint
}

func (o oaep) parameters() *p11.OAEPParams {
	return p11.NewOAEPParams(o.mechanism, o.mgf, p11.CKZ_DATA_SPECIFIED, nil)
}

func refusesParameter(err error) bool {
	return errors.Is(err, p11.Error(p11.CKR_MECHANISM_PARAM_INVALID)) || errors.Is(err, p11.Error(p11.CKR_ARGUMENTS_BAD)) ||
		errors.Is(err, p11.Error(p11.CKR_MECHANISM_INVALID))
}

// unwrap encrypts the AES key for the token and has it unwrap both keys.
func (w way) unwrap(s *session, j *job, o oaep, public *rsa.PublicKey, private p11.ObjectHandle, ephemeral, wrapped []byte) (p11.ObjectHandle, error) {
	underRSA, err := rsa.EncryptOAEP(o.hash, j.how.Random, public, ephemeral, nil)
	if err != nil {
		return 0, err
	}
	if w.mechanism == p11.CKM_RSA_AES_KEY_WRAP {
		parameters := &p11.RSAAESKeyWrapParams{AESKeyBits: uint(8 * len(ephemeral)), OAEPParams: *o.parameters()}
		handle, err := s.ctx.UnwrapKey(s.handle, []*p11.Mechanism{p11.NewMechanism(w.mechanism, parameters)}, private, append(underRSA, wrapped...), j.privateTemplate())
		return handle, calling("C_UnwrapKey", err)
	}
	aes, err := s.ctx.UnwrapKey(s.handle, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP, o.parameters())}, private, underRSA, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_UNWRAP, true),
	})
	if err != nil {
		return 0, calling("C_UnwrapKey of the AES key", err)
	}
	handle, err := s.ctx.UnwrapKey(s.handle, []*p11.Mechanism{p11.NewMechanism(w.mechanism, nil)}, aes, wrapped, j.privateTemplate())
	return handle, calling("C_UnwrapKey", err)
}

// rsaPair has the token make the RSA key pair, which ends with the session.
func rsaPair(s *session) (*rsa.PublicKey, p11.ObjectHandle, error) {
	const bits, exponent = 2048, "\x01\x00\x01"
	public, private, err := s.ctx.GenerateKeyPair(s.handle, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil)},
		[]*p11.Attribute{
			p11.NewAttribute(p11.CKA_TOKEN, false),
			p11.NewAttribute(p11.CKA_WRAP, true),
			p11.NewAttribute(p11.CKA_MODULUS_BITS, bits),
			p11.NewAttribute(p11.CKA_PUBLIC_EXPONENT, []byte(exponent)),
		},
		[]*p11.Attribute{
			p11.NewAttribute(p11.CKA_TOKEN, false),
			p11.NewAttribute(p11.CKA_PRIVATE, true),
			p11.NewAttribute(p11.CKA_SENSITIVE, true),
			p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
			p11.NewAttribute(p11.CKA_UNWRAP, true),
			p11.NewAttribute(p11.CKA_DECRYPT, false),
			p11.NewAttribute(p11.CKA_SIGN, false),
		})
	if err != nil {
		return nil, 0, calling("C_GenerateKeyPair of the wrapping key", err)
	}
	modulus, err := object{s, public}.attribute(p11.CKA_MODULUS)
	if err != nil {
		return nil, 0, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 1<<16 + 1}
	if key.N.BitLen() != bits {
		return nil, 0, fail(backends.ErrKeyUnsuitable, "the token made a wrapping key of %d bits, not %d", key.N.BitLen(), bits)
	}
	return key, private, nil
}
