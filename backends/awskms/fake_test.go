package awskms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/awskms/kmsfake"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

// The faults that the fake makes prove something only if it is a KMS without
// them.
func TestContractOnTheFake(t *testing.T) {
	fakeCredentials(t)
	keys := [2]*ecdsa.PrivateKey{newKey(t), newKey(t)}
	s, first := startFake(t, keys[0])
	s.SetAlias("alias/contract", s.AddKey(keys[1]))
	disabled := s.AddKey(newKey(t))
	s.SetDisabled(disabled, true)
	backendtest.Run(t, backendtest.Harness{
		Open: func(t *testing.T) backends.KeyBackend { return open(t, s.URI("rate=100000")) },
		Keys: [2]backendtest.Key{
			{ID: first, Public: &keys[0].PublicKey},
			{ID: "alias/contract", Public: &keys[1].PublicKey},
		},
		Unknown:    "1234abcd-12ab-34cd-56ef-1234567890ab",
		Malformed:  malformedIDs(),
		Disabled:   disabled,
		WrongCurve: s.AddKey(newP384(t)),
		Outage: func(*testing.T) func() {
			s.Inject(kmsfake.Fault{Reset: true})
			return s.Clear
		},
		Secrets: []string{secretKey},
	})
}

func newKey(t testing.TB) *ecdsa.PrivateKey  { return generate(t, elliptic.P256()) }
func newP384(t testing.TB) *ecdsa.PrivateKey { return generate(t, elliptic.P384()) }

func generate(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustSPKI(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// startFake serves one key and returns its ARN.
func startFake(t testing.TB, key *ecdsa.PrivateKey) (*kmsfake.Server, string) {
	t.Helper()
	s, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	keyARN := s.AddKey(key)
	return s, keyARN
}
