package signer

import (
	"sync"

	"github.com/jotsmith/jotsmith/backends"
)

// remembered is how many of a key's latest signatures nonces knows.
const remembered = 4096

// nonces remembers the r of a key's latest signatures. Two signatures with the
// same r over different digests give the private key away; over the same
// digest they are one signature made twice (RFC 6979).
type nonces struct {
	mu     sync.Mutex
	digest map[[16]byte][16]byte // the first half of r -> the first half of the digest
	ring   [][16]byte            // the keys of digest, oldest at next
	next   int
}

// repeated says whether the signature's r was seen with another digest, and
// remembers it.
func (n *nonces) repeated(signature backends.Signature, digest backends.Digest) bool {
	r, d := [16]byte(signature[:16]), [16]byte(digest[:16])
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.digest == nil {
		n.digest = make(map[[16]byte][16]byte, remembered)
	}
	if seen, ok := n.digest[r]; ok {
		return seen != d
	}
	if len(n.ring) < remembered {
		n.ring = append(n.ring, r)
	} else {
		delete(n.digest, n.ring[n.next])
		n.ring[n.next] = r
		n.next = (n.next + 1) % remembered
	}
	n.digest[r] = d
	return false
}
