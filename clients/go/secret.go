package jotsmith

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Token is a minted token. Printing it, logging it and encoding it show what it is
// about and never the token itself, which Reveal returns.
type Token struct {
	// KID names the key that signed it.
	KID string
	// IssueTime, ExpireTime and RefreshTime are by the server's clock; to decide
	// anything by them is what Remaining and Fresh are for. ExpireTime is zero for a
	// token without exp, RefreshTime for one that is for one use.
	IssueTime, ExpireTime, RefreshTime time.Time
	// Generation names the configuration that the server decided under.
	Generation string
	// Reused says that the server had made it for an earlier request.
	Reused bool
	// PublicKey is what VAPID's Authorization header carries as k. Most profiles
	// leave it empty.
	PublicKey string

	reveal func() string // a function, because fmt and debuggers' printers look into strings
	life   lifetime
}

// Reveal returns the token in its compact serialization, for the header that it
// goes into and for nothing else.
func (t Token) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// OneTime says that the token is for one use.
func (t Token) OneTime() bool { return !t.life.refreshes }

// Remaining returns for how long the token is still valid, counted from when it was
// asked for and by the server's times, so that a wrong clock here changes nothing.
// It is 0 for an expired token and for one without exp.
func (t Token) Remaining() time.Duration {
	if !t.life.ends {
		return 0
	}
	return max(t.life.expire-t.life.asked.age(readClock()), 0)
}

// Fresh says that the server's refresh time has not come.
func (t Token) Fresh() bool {
	return t.life.refreshes && t.life.asked.age(readClock()) < t.life.refresh
}

// String says what the token is about, without the token.
func (t Token) String() string {
	if t.reveal == nil {
		return "no token"
	}
	return fmt.Sprintf("token of key %s (redacted)", t.KID)
}

// Format is String for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String for slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String for encoders: a live token does not belong on a disk.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// received makes a Token of an answer to what was asked at a time.
func received(resp *jotsmithv1.MintTokenResponse, asked reading) Token {
	secret := resp.GetToken()
	t := Token{
		KID: resp.GetKid(), Generation: resp.GetConfigGeneration(), Reused: resp.GetReused(), PublicKey: resp.GetPublicKey(),
		reveal: func() string { return secret },
		life:   lifetime{asked: asked},
	}
	if resp.IssueTime != nil {
		t.IssueTime = resp.GetIssueTime().AsTime()
	}
	now := resp.GetAnswerTime()
	if resp.ExpireTime != nil {
		t.ExpireTime = resp.GetExpireTime().AsTime()
		t.life.ends, t.life.expire = now != nil, t.ExpireTime.Sub(now.AsTime())
	}
	if resp.RefreshTime != nil {
		t.RefreshTime = resp.GetRefreshTime().AsTime()
		// Without the server's time nobody knows how long that is: it is then kept by nobody.
		t.life.refreshes, t.life.refresh = now != nil, t.RefreshTime.Sub(now.AsTime())
	}
	return t
}
