//go:build boringcrypto

package filekey

import (
	"crypto/rand"
	"io"
)

// drawn says whether nonces are.
const drawn = true

// nonceSource is BoringCrypto's, in a program that is built with
// GOEXPERIMENT=boringcrypto (make build-boring). The standard library then leaves
// signatures to BoringCrypto where the nonce is drawn, and makes deterministic ones
// itself. BoringCrypto hashes the key and the digest into what it draws, so that there
// too a broken random source alone does not give the key away.
func nonceSource() io.Reader { return rand.Reader }
