package reuse

import (
	"bytes"
	"context"
	"strconv"

	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

// Weight returns what the cache says that its tokens take.
func (c *Cache) Weight() uint64 { return c.kept.WeightedSize() }

// Len returns how many tokens are kept.
func (c *Cache) Len() int { return c.kept.EstimatedSize() }

// Settle waits for the flights that are under way.
func (c *Cache) Settle() { c.running.Wait() }

// Fill keeps n tokens, each for its own claims of about size bytes.
func (c *Cache) Fill(n, size int) {
	for i := range n {
		text := strconv.AppendInt(bytes.Repeat([]byte("x"), size), int64(i), 10)
		e := &entry{token: Token{Compact: token.NewSigningInput([]byte("{}"), text).Join([64]byte{})}}
		c.kept.Set(place{string(text), signer.Version{KID: "kid"}}, e)
	}
}

// Missed is Token for a caller who found nothing kept, however long ago.
func (c *Cache) Missed(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Token, error) {
	version, err := sign.Version(draft.Key())
	if err != nil {
		return Token{}, err
	}
	return c.await(ctx, job{sign, draft, now, place{draft.Identity(), version}})
}
