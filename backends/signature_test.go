package backends

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"testing"
)

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOrderIsP256s(t *testing.T) {
	if !bytes.Equal([]byte(order), elliptic.P256().Params().N.Bytes()) {
		t.Error("order is not the order of P-256")
	}
}

func TestSignatureFromDERRefuses(t *testing.T) {
	n := hex.EncodeToString([]byte(order))
	cases := map[string]string{
		"nothing":              "",
		"trailing byte":        "300602010102010100",
		"trailing inside":      "3007020101020101" + "00",
		"r zero":               "3006020100020101",
		"s zero":               "3006020101020100",
		"r negative":           "3006020181020101",
		"r not minimal":        "300702020001020101",
		"r is the order":       "3026022100" + n + "020101",
		"s is the order":       "3026020101022100" + n,
		"r of 33 bytes":        "302602210100000000000000000000000000000000000000000000000000000000000000000201" + "01",
		"long form length":     "30810602010102" + "0101",
		"indefinite length":    "30800201010201010000",
		"wrong tag":            "3106020101020101",
		"one integer":          "3003020101",
		"three integers":       "3009020101020101020101",
		"length past the end":  "3007020101020101",
		"integer of no length": "30050200020101",
	}
	for name, der := range cases {
		t.Run(name, func(t *testing.T) {
			if sig, err := SignatureFromDER(mustHex(t, der)); err == nil {
				t.Errorf("accepted as %x", sig)
			}
		})
	}
}

func TestSignatureFromRawRefuses(t *testing.T) {
	one := append(make([]byte, 31), 1)
	zero := make([]byte, 32)
	cases := map[string][]byte{
		"nothing":        nil,
		"63 bytes":       append(bytes.Clone(one), one[:31]...),
		"65 bytes":       append(append(bytes.Clone(one), one...), 0),
		"r zero":         append(bytes.Clone(zero), one...),
		"s zero":         append(bytes.Clone(one), zero...),
		"r is the order": append([]byte(order), one...),
		"s is the order": append(bytes.Clone(one), order...),
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			if sig, err := SignatureFromRaw(raw); err == nil {
				t.Errorf("accepted as %x", sig)
			}
		})
	}
}

func TestSignatureFormsAgree(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short := 0
	for i := range 1000 {
		digest := Digest{byte(i), byte(i >> 8)}
		der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		sig, err := SignatureFromDER(der)
		if err != nil {
			t.Fatalf("%x: %v", der, err)
		}
		if sig[0] == 0 || sig[32] == 0 {
			short++
		}
		if !bytes.Equal(sig.DER(), der) {
			t.Fatalf("DER of %x is %x, want %x", sig, sig.DER(), der)
		}
		raw, err := SignatureFromRaw(sig[:])
		if err != nil || raw != sig {
			t.Fatalf("raw form of %x: %x, %v", sig, raw, err)
		}
		if !sig.Verify(&key.PublicKey, digest) {
			t.Fatal("does not verify")
		}
		if sig.Verify(&key.PublicKey, Digest{31: 1}) {
			t.Fatal("verifies another digest")
		}
	}
	if short == 0 {
		t.Error("no short r or s met")
	}
}

func FuzzSignatureFromDER(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		sig, err := SignatureFromDER(der)
		if err != nil {
			return
		}
		if !bytes.Equal(sig.DER(), der) {
			t.Errorf("%x is accepted and written as %x", der, sig.DER())
		}
		for _, half := range [][]byte{sig[:32], sig[32:]} {
			if v := new(big.Int).SetBytes(half); v.Sign() <= 0 || v.Cmp(elliptic.P256().Params().N) >= 0 {
				t.Errorf("%x is accepted with a number out of range", der)
			}
		}
	})
}
