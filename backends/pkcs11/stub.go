//go:build !cgo || !unix

package pkcs11

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jotsmith/jotsmith/backends"
)

// Open refuses: PKCS#11 modules are C libraries and this program was built
// without cgo. It still says first what is wrong with the URI.
func Open(_ context.Context, uri string, _ *slog.Logger) (backends.KeyBackend, error) {
	return nil, unsupported(uri)
}

// Maker is of no use without cgo; there is none.
type Maker struct{}

// OpenMaker refuses as [Open] does.
func OpenMaker(_ context.Context, uri string, _ *slog.Logger) (*Maker, error) {
	return nil, unsupported(uri)
}

// Close has nothing to do.
func (*Maker) Close() error { return nil }

// Look refuses as [Open] does.
func Look(_ context.Context, uri string) (TokenState, error) { return TokenState{}, unsupported(uri) }

func unsupported(uri string) error {
	err := CheckURI(uri)
	if err == nil {
		err = errors.New("this program was built without PKCS#11: build it with CGO_ENABLED=1 and a C compiler on Linux or macOS")
	}
	return &backends.Error{Op: "open", Kind: backends.ErrUnavailable, Err: err}
}

// RunChildIfAsked returns: without PKCS#11 there is no child to be.
func RunChildIfAsked() {}
