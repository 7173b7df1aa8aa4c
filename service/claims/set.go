package claims

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jotsmith/jotsmith/service/policy"
)

// Set is the approved claims set of one token, made by Catalog.Build alone.
// The zero Set is approved by nobody and is never signed.
type Set struct {
	grant                  policy.Grant
	key, typ               string
	payload                []byte
	issue, expire, refresh time.Time
}

// Grant returns the permission that the set was made under.
func (s Set) Grant() policy.Grant { return s.grant }

// Key returns the configured name of the key that is to sign.
func (s Set) Key() string { return s.key }

// Typ returns the header's typ; empty leaves it out.
func (s Set) Typ() string { return s.typ }

// Payload returns the claims set as compact JSON. It must not be changed. It
// is nil for the zero Set.
func (s Set) Payload() []byte { return s.payload }

// IssueTime returns iat.
func (s Set) IssueTime() time.Time { return s.issue }

// ExpireTime returns exp.
func (s Set) ExpireTime() time.Time { return s.expire }

// RefreshTime returns when a new token should be asked for: a third of the
// life ahead of exp.
func (s Set) RefreshTime() time.Time { return s.refresh }

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
	Field       string // "claims", "claims.<name>" or "ttl"
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
