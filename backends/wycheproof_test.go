package backends

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"
)

// TestWycheproof runs the vectors of Project Wycheproof through the strict
// parsers and Verify: what they call invalid is refused by one or the other.
func TestWycheproof(t *testing.T) {
	forms := map[string]func([]byte) (Signature, error){
		"ecdsa_secp256r1_sha256_test.json":       SignatureFromDER,
		"ecdsa_secp256r1_sha256_p1363_test.json": SignatureFromRaw,
	}
	for file, parse := range forms {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/wycheproof/" + file)
			if err != nil {
				t.Fatal(err)
			}
			var vectors struct {
				NumberOfTests int
				TestGroups    []struct {
					PublicKeyDer string
					Tests        []struct {
						TcID             int `json:"tcId"`
						Comment          string
						Msg, Sig, Result string
					}
				}
			}
			if err := json.Unmarshal(data, &vectors); err != nil {
				t.Fatal(err)
			}
			ran, valid := 0, 0
			for _, group := range vectors.TestGroups {
				parsed, err := x509.ParsePKIXPublicKey(mustHex(t, group.PublicKeyDer))
				if err != nil {
					t.Fatal(err)
				}
				key, ok := parsed.(*ecdsa.PublicKey)
				if !ok {
					t.Fatalf("a key of type %T", parsed)
				}
				for _, test := range group.Tests {
					ran++
					sig, err := parse(mustHex(t, test.Sig))
					accepted := err == nil && sig.Verify(key, sha256.Sum256(mustHex(t, test.Msg)))
					if accepted {
						valid++
					}
					if accepted != (test.Result == "valid") {
						t.Errorf("test %d (%s): accepted %v (%v), want %s", test.TcID, test.Comment, accepted, err, test.Result)
					}
				}
			}
			if ran != vectors.NumberOfTests || valid == 0 {
				t.Errorf("%d of %d tests ran, %d were valid", ran, vectors.NumberOfTests, valid)
			}
		})
	}
}
