//go:build cgo && unix

package pkcs11

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/binary"
	"errors"

	p11 "github.com/miekg/pkcs11"

	"github.com/jotsmith/jotsmith/backends"
)

// findKey finds the one private key that is meant, checks that it can sign
// ES256, and finds its public half.
func findKey(s *session, want keyID) (key, error) {
	handles, err := findObjects(s, p11.CKO_PRIVATE_KEY, want)
	if err != nil {
		return key{}, err
	}
	switch len(handles) {
	case 0:
		return key{}, fail(backends.ErrKeyNotFound, "token %s has no private key %s: see pkcs11-tool --login --list-objects --type privkey",
			s.token.info.Label, want)
	case 1:
	default:
		return key{}, fail(backends.ErrKeyUnsuitable, "more than one private key is %s: name both id=%%XX and object=NAME", want)
	}
	o := object{s, handles[0]}
	k := key{handle: handles[0], token: s.token, login: s.login}
	own, err := o.identity()
	if err != nil {
		return key{}, err
	}
	if k.always, err = o.usable(); err != nil {
		return key{}, err
	}
	if k.public, err = o.publicHalf(own); err != nil {
		return key{}, err
	}
	k.canonical = Scheme + ":" + join(";", pathLiteral,
		"token", s.token.info.Label, "serial", s.token.info.SerialNumber) + ";" + own.String()
	return k, nil
}

// findObjects returns up to two objects of the class with that id and label.
func findObjects(s *session, class uint, want keyID) ([]p11.ObjectHandle, error) {
	return search(s, append(want.template(), p11.NewAttribute(p11.CKA_CLASS, class)))
}

// template is what an object has that is meant.
func (k keyID) template() []*p11.Attribute {
	var template []*p11.Attribute
	if k.id != "" {
		template = append(template, p11.NewAttribute(p11.CKA_ID, []byte(k.id)))
	}
	if k.label != "" {
		template = append(template, p11.NewAttribute(p11.CKA_LABEL, k.label))
	}
	return template
}

// search returns up to two objects with those attributes.
func search(s *session, template []*p11.Attribute) ([]p11.ObjectHandle, error) {
	s.dirty = true
	if err := s.ctx.FindObjectsInit(s.handle, template); err != nil {
		return nil, calling("C_FindObjectsInit", err)
	}
	var handles []p11.ObjectHandle
	for len(handles) < 2 {
		more, _, err := s.ctx.FindObjects(s.handle, 2)
		if err != nil {
			return nil, calling("C_FindObjects", err)
		}
		if len(more) == 0 {
			break
		}
		handles = append(handles, more...)
	}
	if err := s.ctx.FindObjectsFinal(s.handle); err != nil {
		return nil, calling("C_FindObjectsFinal", err)
	}
	s.dirty = false
	return handles, nil
}

// object is an object on the token, to be read.
type object struct {
	s      *session
	handle p11.ObjectHandle
}

// attribute returns one attribute's value, or nil if the object has none or
// does not show it. One at a time: some modules fail the whole call for one
// attribute that they do not know.
func (o object) attribute(typ uint) ([]byte, error) {
	values, err := o.s.ctx.GetAttributeValue(o.s.handle, o.handle, []*p11.Attribute{p11.NewAttribute(typ, nil)})
	switch {
	case errors.Is(err, p11.Error(p11.CKR_ATTRIBUTE_TYPE_INVALID)), errors.Is(err, p11.Error(p11.CKR_ATTRIBUTE_SENSITIVE)):
		return nil, nil
	case err != nil:
		return nil, calling("C_GetAttributeValue", err)
	}
	return values[0].Value, nil
}

// flag reads a CK_BBOOL.
func (o object) flag(typ uint) (value, known bool, err error) {
	v, err := o.attribute(typ)
	return len(v) == 1 && v[0] != 0, len(v) == 1, err
}

// number reads a CK_ULONG.
func (o object) number(typ uint) (value uint64, known bool, err error) {
	v, err := o.attribute(typ)
	switch len(v) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(v)), true, err
	case 8:
		return binary.NativeEndian.Uint64(v), true, err
	}
	return 0, false, err
}

// identity is the object's own CKA_ID and CKA_LABEL.
func (o object) identity() (keyID, error) {
	id, err := o.attribute(p11.CKA_ID)
	if err != nil {
		return keyID{}, err
	}
	label, err := o.attribute(p11.CKA_LABEL)
	return keyID{label: string(label), id: string(id)}, err
}

// usable says whether the private key is an EC key that signs, and whether
// each signature wants a login.
func (o object) usable() (always bool, err error) {
	keyType, known, err := o.number(p11.CKA_KEY_TYPE)
	if err != nil {
		return false, err
	}
	if known && keyType != p11.CKK_EC {
		return false, fail(backends.ErrKeyUnsuitable, "its CKA_KEY_TYPE is 0x%X, not CKK_EC: make a P-256 key", keyType)
	}
	sign, known, err := o.flag(p11.CKA_SIGN)
	if err != nil {
		return false, err
	}
	if known && !sign {
		return false, fail(backends.ErrKeyUnsuitable, "its CKA_SIGN is false: set it, or make a key with usage sign")
	}
	always, _, err = o.flag(p11.CKA_ALWAYS_AUTHENTICATE)
	return always, err
}

// publicHalf finds the public key: on the public key object or certificate of
// the same CKA_ID, on those of the same label, or on the private key itself,
// where some modules show it.
func (o object) publicHalf(id keyID) (*ecdsa.PublicKey, error) {
	params, err := o.attribute(p11.CKA_EC_PARAMS)
	if err != nil {
		return nil, err
	}
	if err := checkCurve(params); err != nil {
		return nil, err
	}
	for _, name := range []keyID{{id: id.id}, {label: id.label}} {
		if name == (keyID{}) {
			continue
		}
		if public, err := publicObject(o.s, name); public != nil || err != nil {
			return public, err
		}
		if public, err := certificate(o.s, name); public != nil || err != nil {
			return public, err
		}
	}
	if point, err := o.attribute(p11.CKA_EC_POINT); err != nil || len(point) > 0 {
		return publicFromPoint(point, err)
	}
	if info, err := o.attribute(p11.CKA_PUBLIC_KEY_INFO); err != nil || len(info) > 0 {
		return publicFromInfo(info, err)
	}
	return nil, fail(backends.ErrKeyUnsuitable, "its public key is not on the token: "+
		"write the public key or a certificate there with the private key's CKA_ID %s", escapeAll(id.id))
}

// publicObject returns the public key of the public key objects of that name,
// which must all be the same key; nil if there are none.
func publicObject(s *session, name keyID) (*ecdsa.PublicKey, error) {
	handles, err := findObjects(s, p11.CKO_PUBLIC_KEY, name)
	if err != nil {
		return nil, err
	}
	var public *ecdsa.PublicKey
	for _, handle := range handles {
		o := object{s, handle}
		params, err := o.attribute(p11.CKA_EC_PARAMS)
		if err != nil {
			return nil, err
		}
		if err := checkCurve(params); err != nil {
			return nil, err
		}
		next, err := publicFromPoint(o.attribute(p11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		if public != nil && !public.Equal(next) {
			return nil, fail(backends.ErrKeyUnsuitable, "two different public keys are %s: give each key pair a CKA_ID of its own", name)
		}
		public = next
	}
	return public, nil
}

// certificate returns the public key of the one certificate of that name; nil
// if there is none.
func certificate(s *session, name keyID) (*ecdsa.PublicKey, error) {
	handles, err := findObjects(s, p11.CKO_CERTIFICATE, name)
	if err != nil || len(handles) != 1 {
		return nil, err
	}
	der, err := object{s, handles[0]}.attribute(p11.CKA_VALUE)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fail(backends.ErrKeyUnsuitable, "certificate %s: %w", name, err)
	}
	return p256(cert.PublicKey)
}
