package claims

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Set is the approved header and claims set of one token, made by Draft.At
// alone. The zero Set is approved by nobody and is never signed; it has no payload
// and no header, and its other methods but String must not be called.
type Set struct{ *made }

// made is what a Set has, which nobody changes.
type made struct {
	draft   Draft
	header  []byte // further members of the header, each with a comma ahead
	payload []byte
	jti     string
	times
}

// times are when a token is good for what. A zero time is never.
type times struct {
	issue   time.Time // iat
	expire  time.Time // exp
	end     time.Time // when no verifier accepts it any more
	refresh time.Time // when its holder should ask for another
	last    time.Time // when it is last handed out
}

// Grant returns the permission that the set was made under.
func (s Set) Grant() policy.Grant { return s.draft.grant }

// Key returns the configured name of the key that is to sign.
func (s Set) Key() string { return s.draft.Key() }

// Typ returns the header's typ; empty leaves it out.
func (s Set) Typ() string { return s.draft.profile.Typ }

// OmitKID says whether the header has no kid.
func (s Set) OmitKID() bool { return s.draft.profile.OmitKID }

// Header returns the header's members beside alg, kid and typ, as compact JSON
// with a comma ahead of each. It must not be changed.
func (s Set) Header() []byte {
	if s.made == nil {
		return nil
	}
	return s.header
}

// Payload returns the claims set as compact JSON. It must not be changed. It
// is nil for the zero Set.
func (s Set) Payload() []byte {
	if s.made == nil {
		return nil
	}
	return s.payload
}

// JTI returns the token's own id; empty where it has none.
func (s Set) JTI() string { return s.jti }

// Draft returns the request that the set was made for.
func (s Set) Draft() Draft { return s.draft }

// IssueTime returns iat.
func (s Set) IssueTime() time.Time { return s.issue }

// ExpireTime returns exp; it is zero for a token without.
func (s Set) ExpireTime() time.Time { return s.expire }

// EndTime returns when no verifier accepts the token any more: exp, or for a
// token without the age that its profile names; zero where neither is known.
func (s Set) EndTime() time.Time { return s.end }

// RefreshTime returns when the token's holder should ask for a new one; zero
// where the token is for one use.
func (s Set) RefreshTime() time.Time { return s.refresh }

// LastHandout returns when the token is last handed out: with a third of its
// life left. It is zero where the token is for one use.
func (s Set) LastHandout() time.Time { return s.last }

// String redacts: claims are not for logs.
func (Set) String() string { return "[claims set]" }

// GoString redacts.
func (s Set) GoString() string { return s.String() }

// LogValue redacts.
func (s Set) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Refusal lists what is wrong with a request. Its text is fit for the caller:
// it repeats the names of his claims and never their values.
type Refusal struct {
	Violations []Violation
}

// Violation is one fault of a request.
type Violation struct {
	Field       string // "claims", "claims.<name>", "ttl" or "min_remaining"
	Description string
}

// Error lists the violations.
func (r *Refusal) Error() string {
	parts := make([]string, len(r.Violations))
	for i, v := range r.Violations {
		parts[i] = v.Field + " " + v.Description
	}
	return strings.Join(parts, "; ")
}

// maxViolations bounds the answer to a request of many faults.
const maxViolations = 16

func (r *Refusal) add(field, description string) {
	if len(r.Violations) < maxViolations {
		r.Violations = append(r.Violations, Violation{field, description})
	}
}

// field names a claim in a violation: its name as it is where it is short and
// plain, quoted and cut where it is not. With maxViolations this keeps an
// answer below the 8 KiB of trailers that gRPC's C core accepts, whose users
// would see an error about metadata in the place of this one.
func field(name string) string {
	const (
		plain  = 64
		quoted = 16 // an escape is up to four times as long as what it stands for
	)
	if claimName.MatchString(name) {
		if len(name) > plain {
			name = name[:plain] + "..."
		}
		return "claims." + name
	}
	if len(name) > quoted {
		return "claims." + strconv.QuoteToASCII(strings.ToValidUTF8(name[:quoted], "")) + "..."
	}
	return "claims." + strconv.QuoteToASCII(name)
}
