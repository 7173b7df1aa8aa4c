//go:build !cgo || !unix

package pkcs11

import (
	"log/slog"
	"strings"
	"testing"
)

func TestOpenWithoutCgoSaysHowToGetIt(t *testing.T) {
	for uri, want := range map[string]string{
		"pkcs11:token=t" + goodQuery: "build it with CGO_ENABLED=1",
		"pkcs11:token=t":             "module-path is missing",
	} {
		if _, err := Open(t.Context(), uri, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want it to say %q", uri, err, want)
		}
	}
}
