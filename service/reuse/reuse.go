// Package reuse gives the same token to several requests, where their profile
// says so. It stands between an approved request and the signer: whoever gets a
// token from here has a grant, a request of the same profile that leads to the
// same claims, and a key that has not been taken away.
//
// A token that is missing is signed once, however many callers wait for it. One
// that has reached half of its life is replaced in the background while the old
// one is still handed out, which ends when a third of its life is left.
package reuse

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/jotsmith/jotsmith/service/claims"
	"github.com/jotsmith/jotsmith/service/clock"
	"github.com/jotsmith/jotsmith/service/signer"
	"github.com/jotsmith/jotsmith/service/token"
)

// Token is a finished token and its times, which are those of claims.Set.
type Token struct {
	Compact                                     token.Compact
	KID, JTI                                    string
	IssueTime, ExpireTime, EndTime, RefreshTime time.Time
	Reused                                      bool // made for an earlier request
	Own                                         bool // signed, and recorded, for this very call

	Digest  [sha256.Size]byte // of Compact; zero for a token that is not kept
	Holders *Holders          // of one that is kept; nil for another
}

// Held is what its holder keeps of a token: enough to tell it from another.
type Held struct {
	EndTime time.Time
	compact token.Compact
}

// Held returns what its holder keeps.
func (t Token) Held() Held { return Held{t.EndTime, t.Compact} }

// Is says whether the token is one that is held.
func (t Token) Is(held Held) bool { return t.Compact == held.compact }

// Config is what New needs.
type Config struct {
	MaxBytes uint64    // what the tokens and their claims may take, shared ones aside
	Random   io.Reader // for jitter alone
	Log      *slog.Logger
}

// Cache keeps the tokens that can be reused. It is safe for concurrent use.
type Cache struct {
	random io.Reader
	log    *slog.Logger
	kept   *otter.Cache[place, *entry]

	mu      sync.Mutex
	flights map[place]*flight
	closed  bool
	running sync.WaitGroup // the flights; Add only under mu while not closed
}

// New returns an empty Cache.
func New(cfg Config) *Cache {
	return &Cache{
		random:  cfg.Random,
		log:     cfg.Log,
		flights: map[place]*flight{},
		kept: otter.Must(&otter.Options[place, *entry]{
			MaximumWeight: max(cfg.MaxBytes, 1),
			Weigher:       weigh,
			// In the goroutine that fills the cache: none is left behind by
			// Close, and the bound holds when Set returns.
			Executor: func(maintain func()) { maintain() },
		}),
	}
}

// Token returns a token for an approved request: one made before, where the
// profile allows it and enough of its life is left, or a new one. It returns
// soon after ctx ends; a signature that others wait for goes on without the one
// who asked first. The error is clock.ErrUntrusted, one of the signer's, or
// that of ctx.
//
// A shared token of less than its MinAge, or of the current window of its grid,
// is handed out to a caller who asks for a longer life too.
func (c *Cache) Token(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Token, error) {
	sealed, err := c.Seal(ctx, sign, draft, now)
	if err != nil {
		return Token{}, err
	}
	return sealed.Open(ctx)
}

// Sealed is a token that nobody may have yet, or one that is kept.
type Sealed struct {
	token  Token         // a new one's text and kid are in signed
	signed signer.Sealed // of a new one
	fresh  bool          // it is a new one
}

// Kept returns the token where there is nothing to wait for.
func (s *Sealed) Kept() (Token, bool) { return s.token, !s.fresh }

// Signed waits until a new token is signed, and has it recorded. Open does so too.
func (s *Sealed) Signed(ctx context.Context) error { return s.signed.Signed(ctx) }

// Open returns the token when it may leave.
func (s *Sealed) Open(ctx context.Context) (Token, error) {
	if s.fresh {
		signed, err := s.signed.Open(ctx)
		if err != nil {
			return Token{}, err
		}
		s.token.Compact, s.token.KID = signed.Token, signed.KID
	}
	return s.token, nil
}

// Seal is Token without the wait for a new token's record, for who wants several: one
// wait is enough for all. What is kept, or to be kept, is waited for.
func (c *Cache) Seal(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Sealed, error) {
	if draft.Profile().OneTime() || draft.Life() == 0 {
		made, _, err := seal(ctx, sign, draft, now)
		made.token.Own = err == nil
		return made, err
	}
	kept, err := c.keep(ctx, sign, draft, now)
	return Sealed{token: kept}, err
}

// keep returns a token that is kept, or one that will be.
func (c *Cache) keep(ctx context.Context, sign *signer.Signer, draft claims.Draft, now clock.Reading) (Token, error) {
	version, err := sign.Version(draft.Key())
	if err != nil {
		return Token{}, err
	}
	at := place{draft.Identity(), version}
	kept, ok := c.kept.GetIfPresent(at)
	if !ok || !kept.serves(now, draft.MinRemaining()) {
		return c.await(ctx, job{sign, draft, now, at})
	}
	if kept.ripe(now) {
		c.refresh(ctx, job{sign, draft, now, at})
	}
	token := kept.token
	token.Reused = true
	return token, nil
}

// Kept returns how many tokens are kept, and what they take of MaxBytes.
func (c *Cache) Kept() (tokens int, bytes uint64) {
	return c.kept.EstimatedSize(), c.kept.WeightedSize()
}

// Forget drops every token that is kept, the shared ones too.
func (c *Cache) Forget() { c.kept.InvalidateAll() }

// Close refuses new signatures with backends.ErrClosed and waits for those
// under way, which the signer's timeout bounds.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
}
