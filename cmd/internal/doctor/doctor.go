// Package doctor looks at one installation and says what is wrong with it and
// what mends it. It changes nothing, logs in nowhere and signs nothing: it reads
// files, asks stores for public keys and tokens for their state, and fetches what
// is published.
package doctor

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"net/http"
	"time"

	"github.com/jotsmith/jotsmith/backends"
	"github.com/jotsmith/jotsmith/backends/pkcs11"
	"github.com/jotsmith/jotsmith/cmd/internal/config"
	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// Severity says what a finding costs.
type Severity string

// The severities, the least first.
const (
	Note    Severity = "note"    // nothing is wrong; good to know, or could not be looked at
	Warning Severity = "warning" // works, and will not for ever, or not for everybody
	Fault   Severity = "error"   // does not work
)

// Finding is one thing that was found. No finding holds a token, a PIN or a key.
type Finding struct {
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // what it is about, as in "key asc"
	What     string   `json:"what"`
	Mend     string   `json:"mend,omitempty"` // empty where there is nothing to mend
}

// Wrong says whether any of the findings is more than a note.
func Wrong(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity != Note {
			return true
		}
	}
	return false
}

// Store is what may be done with a key store. What a store does not have is nil.
type Store struct {
	// Open opens it to read public keys; nil where that takes a login.
	Open func(ctx context.Context) (backends.KeyBackend, error)
	// File returns the path of a key's file.
	File func(id string) string
	// Endpoint returns a client and the URL of a server that says its time to
	// whoever asks.
	Endpoint func(ctx context.Context) (*http.Client, string, error)
	// Token looks at a PKCS#11 token without a login.
	Token func(ctx context.Context) (pkcs11.TokenState, error)
}

// Exam is what is looked at, and with what.
type Exam struct {
	Config *config.Config // as far as it could be read
	Now    func() time.Time

	Store func(uri string) Store
	// Status asks the server that runs, over its admin socket.
	Status func(ctx context.Context) (*jotsmithv1.StatusResponse, error)

	// Signs says that each key is to sign a canary after this.
	Signs bool

	// Consumers says that the tokens' consumers and verifiers' addresses may be
	// asked, by HTTP is the client for it. AppStore is the URL of App Store
	// Connect.
	Consumers bool
	HTTP      *http.Client
	AppStore  string
}

// AppStoreConnect is what Exam.AppStore is, but in tests.
const AppStoreConnect = "https://api.appstoreconnect.apple.com/v1/apps"

// lookTime is how long one store, server or document may take.
const lookTime = 10 * time.Second

// known is the public half of a key, or of a version of one, as verifiers should
// know it.
type known struct {
	name   string // in the configuration
	kid    string
	public *ecdsa.PublicKey
}

// Run looks at everything.
func (e *Exam) Run(ctx context.Context) []Finding {
	var findings []Finding
	found := func(more []Finding) { findings = append(findings, more...) }

	storeClock, clockFindings := e.storeClocks(ctx)
	found(clockFindings)
	appleClock, clockFindings := e.consumerClock(ctx)
	found(clockFindings)
	clock := storeClock
	if appleClock != nil {
		clock = appleClock
	}
	found(e.tokens(ctx))
	versions, rotationFindings := e.rotation(ctx)
	found(rotationFindings)
	keys, keyFindings := e.keys(ctx, versions)
	found(keyFindings)
	found(e.appStore(clock))
	found(e.certificates())
	found(e.places())
	found(e.spiffe(ctx))
	found(e.published(ctx, expected(keys, versions)))
	found(e.server(ctx))
	return findings
}

// Client returns a client for consumers and for verifiers' addresses. It follows
// no redirect away from https.
func Client() *http.Client {
	return &http.Client{Timeout: lookTime, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case req.URL.Scheme != "https":
			return errors.New("it redirects to " + req.URL.Scheme + ", where who is on the way can change it")
		case len(via) > 5:
			return errors.New("it redirects without end")
		}
		return nil
	}}
}
