//go:build !boringcrypto

package filekey

import "io"

// drawn says whether nonces are.
const drawn = false

// nonceSource is none: the nonce is derived (RFC 6979).
func nonceSource() io.Reader { return nil }
