package awskms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	backendtest.Run(t, backendtest.Harness{
		Open: func(t *testing.T) backends.KeyBackend { return open(t, s.URI("rate=100000")) },
		Keys: [2]backendtest.Key{
			{ID: first, Public: &keys[0].PublicKey},
			{ID: "alias/contract", Public: &keys[1].PublicKey},
		},
		Unknown:    "1234abcd-12ab-34cd-56ef-1234567890ab",
		Malformed:  malformedIDs(),
		Disabled:   disabled,
		WrongCurve: s.AddKey(p384),
		Outage: func(*testing.T) func() {
			s.Inject(kmsfake.Fault{Reset: true})
			return s.Clear
		},
		Secrets: []string{secretKey},
	})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// startFake serves one key and returns its ARN.
func startFake(t testing.TB, key *ecdsa.PrivateKey) (*kmsfake.Server, string) {
	t.Helper()
	s, err := kmsfake.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, s.AddKey(key)
}
