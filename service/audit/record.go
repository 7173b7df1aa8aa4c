package audit

import (
	"encoding/hex"
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The types of records.
const (
	typeOpened     = "opened"     // a process has begun to write the log
	typeRotated    = "rotated"    // the first record of a file that goes on from another
	typeRecovered  = "recovered"  // what a crash left has been cut off
	typeIntent     = "intent"     // a token is about to be signed
	typeResult     = "result"     // what came of an intent
	typeNote       = "note"       // an intent and its result in one
	typeAct        = "act"        // something was changed that decides what is minted
	typeCheckpoint = "checkpoint" // a signature over the chain
)

// Intent is what somebody asks to be signed, as far as it is known. Text over
// 1 KiB is cut.
type Intent struct {
	Method     string // of the service, as in "MintToken"
	Generation string // of the configuration
	Caller     string
	Proof      string // how the caller was proved: "peercred", "mtls" or "oidc:" and the issuer
	Grant      string
	Profile    string
	Key        string // its configured name
	Claims     []Claim
	TTL        time.Duration // 0 is none, or the profile's own
}

// Claim is a claim of a token.
type Claim struct {
	Name  string
	Value jsontext.Value // JSON
	// Shown puts the value into the log as it is; without it there is only a
	// keyed hash. A value that is not JSON, or over 16 KiB, is never shown.
	Shown bool
}

// Outcome is what came of an intent.
type Outcome string

// The outcomes.
const (
	Minted  Outcome = "minted"  // there is a token, new or used again
	Failed  Outcome = "failed"  // the service could not
	Refused Outcome = "refused" // the service would not
)

// Result is what came of an Intent.
type Result struct {
	Outcome    Outcome
	Reason     string // of the error, as the caller gets it; empty for a token
	KID        string
	JTI        string
	Digest     Digest // of the token
	IssueTime  time.Time
	ExpireTime time.Time // zero is never
	Reused     bool
}

// Act is a change that decides what is minted, by an operator or by the rules of
// the configuration. Text over 1 KiB is cut.
type Act struct {
	Method     string // of AdminService, as in "Disable"; empty for the rules
	Generation string // of the configuration
	Caller     string // empty for the rules
	Proof      string // as in Intent
	Target     string // what was changed, as in "profile asc"
	Change     string // how, as in "stopped", or "next to active"
	KID        string // of a key's version
	Forced     bool   // against what the rules would have
	Why        string // in the operator's words
}

// Digest is the SHA-256 of a token in its compact serialization; the zero
// Digest is that of none.
type Digest [32]byte

// String redacts: values are not for other logs than this one.
func (Intent) String() string { return "[audit intent]" }

// GoString redacts.
func (in Intent) GoString() string { return in.String() }

// LogValue redacts.
func (in Intent) LogValue() slog.Value { return slog.StringValue(in.String()) }

// String redacts.
func (Claim) String() string { return "[audit claim]" }

// GoString redacts.
func (c Claim) GoString() string { return c.String() }

// LogValue redacts.
func (c Claim) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String redacts.
func (Result) String() string { return "[audit result]" }

// GoString redacts.
func (r Result) GoString() string { return r.String() }

// LogValue redacts.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.String()) }

const (
	maxText  = 1 << 10
	maxShown = 16 << 10
	// maxLine is the longest line of a log, its newline included.
	maxLine = 1 << 20
	// maxPrefix is more than what the writer puts ahead of a record's body.
	maxPrefix = 256
)

func (e *entry) intent(in *Intent) {
	e.text("method", in.Method)
	e.text("generation", in.Generation)
	e.text("caller", in.Caller)
	e.text("proof", in.Proof)
	e.text("grant", in.Grant)
	e.text("profile", in.Profile)
	e.text("key", in.Key)
	if len(in.Claims) > 0 {
		e.body = append(e.body, `,"claims":[`...)
		for i := range in.Claims {
			if i > 0 {
				e.body = append(e.body, ',')
			}
			e.claim(&in.Claims[i])
		}
		e.body = append(e.body, ']')
	}
	if in.TTL != 0 {
		e.name("ttl")
		e.body = strconv.AppendFloat(e.body, in.TTL.Seconds(), 'f', -1, 64)
	}
}

func (e *entry) claim(c *Claim) {
	e.body = appendText(append(e.body, `{"name":`...), c.Name)
	if c.Shown && len(c.Value) <= maxShown {
		at := len(e.body)
		e.body = append(e.body, `,"value":`...)
		var err error
		if e.body, err = jsontext.AppendFormat(e.body, c.Value); err == nil {
			e.body = append(e.body, '}')
			return
		}
		e.body = e.body[:at]
	}
	// With the name, so that a value does not look the same under two of them.
	e.mac.Reset()
	e.scratch = append(append(append(e.scratch[:0], c.Name...), 0), c.Value...)
	_, _ = e.mac.Write(e.scratch) // a hash takes all
	e.scratch = e.mac.Sum(e.scratch[:0])
	e.body = append(e.body, `,"hmac":"`...)
	e.body = append(hex.AppendEncode(e.body, e.scratch[:16]), '"', '}')
}

func (e *entry) result(r *Result) {
	e.text("outcome", string(r.Outcome))
	e.text("reason", r.Reason)
	e.text("kid", r.KID)
	e.text("jti", r.JTI)
	if r.Digest != (Digest{}) {
		e.hex("token_sha256", r.Digest[:])
	}
	e.seconds("iat", r.IssueTime)
	e.seconds("exp", r.ExpireTime)
	if r.Reused {
		e.name("reused")
		e.body = append(e.body, "true"...)
	}
}

func (e *entry) act(a *Act) {
	e.text("method", a.Method)
	e.text("generation", a.Generation)
	e.text("caller", a.Caller)
	e.text("proof", a.Proof)
	e.text("target", a.Target)
	e.text("change", a.Change)
	e.text("kid", a.KID)
	if a.Forced {
		e.name("forced")
		e.body = append(e.body, "true"...)
	}
	e.text("why", a.Why)
}

func (e *entry) name(name string) {
	e.body = append(append(append(e.body, ',', '"'), name...), '"', ':')
}

// text appends a member, but none for an empty text.
func (e *entry) text(name, value string) {
	if value != "" {
		e.name(name)
		e.body = appendText(e.body, value)
	}
}

func (e *entry) number(name string, value uint64) {
	e.name(name)
	e.body = strconv.AppendUint(e.body, value, 10)
}

func (e *entry) seconds(name string, t time.Time) {
	if !t.IsZero() {
		e.name(name)
		e.body = strconv.AppendInt(e.body, t.Unix(), 10)
	}
}

func (e *entry) hex(name string, value []byte) {
	e.name(name)
	e.body = append(hex.AppendEncode(append(e.body, '"'), value), '"')
}

// appendText appends a JSON string, cut to maxText. Bytes that are no UTF-8
// become U+FFFD.
func appendText(b []byte, text string) []byte {
	cut := len(text) > maxText
	if cut {
		end := maxText
		for end > maxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	if !cut && isPlain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	b, _ = jsontext.AppendQuote(b, text) // its error is about UTF-8 that it has mended
	if cut {
		b = append(b[:len(b)-1], `..."`...)
	}
	return b
}

// isPlain says whether a JSON string has the text as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
