//go:build cgo && unix

package pkcs11

import (
	"log/slog"
	"testing"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/backendtest"
)

const noDisabledState = "PKCS#11 knows no disabled key: one with CKA_SIGN false is unsuitable, see TestUnsuitableKeys"

func TestContract(t *testing.T) {
	h := newSoftHSM(t)
	backendtest.Run(t, backendtest.Harness{
		Open:       opener(h.uri(h.module)),
		Keys:       h.keys,
		Unknown:    "object=no%20such%20key",
		Malformed:  malformed(),
		WrongCurve: "object=p384",
		Deviations: map[backendtest.Case]string{
			backendtest.Disabled: noDisabledState,
			backendtest.Outage:   "SoftHSM lives in this process and cannot be lost; TestContractThroughP11Kit loses it",
		},
		Secrets: []string{userPIN, soPIN},
	})
}

func opener(uri string) func(t *testing.T) backends.KeyBackend {
	return func(t *testing.T) backends.KeyBackend {
		t.Helper()
		b, err := Open(t.Context(), uri, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		return b
	}
}

func malformed() []string {
	return []string{"one", "object=", "id=%0", "object=a;object=b", "slot-id=1", "type=public;object=one", "object=one?module-path=/x"}
}
