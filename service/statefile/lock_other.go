//go:build !unix

package statefile

import (
	"context"
	"errors"
)

// Lock is for the systems that the server runs on.
func Lock(context.Context, string) (unlock func(), err error) { return nil, errors.ErrUnsupported }
