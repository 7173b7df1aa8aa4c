//go:build cgo && unix

package pkcs11

import (
	p11 "github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"

	"github.com/jotsmith/jotsmith/backends"
)

// oidP256 is CKA_EC_PARAMS of P-256, the curve's OID in DER.
const oidP256 = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"

// common is what both halves of a key pair have.
func (j *job) common() []*p11.Attribute {
	attributes := []*p11.Attribute{
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_EC),
		p11.NewAttribute(p11.CKA_ID, j.ckID),
	}
	if j.want.label != "" {
		attributes = append(attributes, p11.NewAttribute(p11.CKA_LABEL, j.want.label))
	}
	return attributes
}

// publicAttributes are those of the public half: it verifies and does nothing
// else, and is seen without a login.
func publicAttributes() []*p11.Attribute {
	return []*p11.Attribute{
		p11.NewAttribute(p11.CKA_PRIVATE, false),
		p11.NewAttribute(p11.CKA_VERIFY, true),
		p11.NewAttribute(p11.CKA_ENCRYPT, false),
		p11.NewAttribute(p11.CKA_WRAP, false),
		p11.NewAttribute(p11.CKA_EC_PARAMS, []byte(oidP256)),
	}
}

// privateFlags is what a private key may do, and what may be done with it.
func privateFlags() []struct {
	typ   uint
	name  string
	value bool
} {
	return []struct {
		typ   uint
		name  string
		value bool
	}{
		{p11.CKA_PRIVATE, "CKA_PRIVATE", true},
		{p11.CKA_SENSITIVE, "CKA_SENSITIVE", true},
		{p11.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false},
		{p11.CKA_SIGN, "CKA_SIGN", true},
		{p11.CKA_DECRYPT, "CKA_DECRYPT", false},
		{p11.CKA_UNWRAP, "CKA_UNWRAP", false},
		{p11.CKA_DERIVE, "CKA_DERIVE", false},
	}
}

func privateAttributes() []*p11.Attribute {
	var attributes []*p11.Attribute
	for _, flag := range privateFlags() {
		attributes = append(attributes, p11.NewAttribute(flag.typ, flag.value))
	}
	return attributes
}

// checkAttributes refuses a private key that may do more than sign, or that
// leaves the token. An attribute that the token does not show is let pass.
func checkAttributes(o object) error {
	for _, flag := range privateFlags() {
		value, known, err := o.flag(flag.typ)
		if err != nil {
			return err
		}
		if known && value != flag.value {
			return fail(backends.ErrKeyUnsuitable, "the token has the private key with %s %v: a key that is safe there has %v", flag.name, value, flag.value)
		}
	}
	return nil
}

// publicTemplate is the public half of an import, as C_CreateObject takes it.
func (j *job) publicTemplate() ([]*p11.Attribute, error) {
	point, err := j.key.Public().Bytes()
	if err != nil {
		return nil, err
	}
	var der cryptobyte.Builder
	der.AddASN1OctetString(point)
	value, err := der.Bytes()
	if err != nil {
		return nil, err
	}
	template := append(j.common(), publicAttributes()...)
	return append(template, p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), p11.NewAttribute(p11.CKA_EC_POINT, value)), nil
}

// privateTemplate is the private key's, without its number.
func (j *job) privateTemplate() []*p11.Attribute {
	return append(append(j.common(), privateAttributes()...), p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY))
}
