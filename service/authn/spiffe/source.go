// Package spiffe has a TLS listener's certificate, and the CAs of its callers,
// from the SPIFFE Workload API of an agent on this machine, SPIRE's for one.
//
// A Source is one stream from the agent. What the agent hands out anew is in
// force from the next handshake, and from the next call of every connection. The
// agent may go away: what it handed out last goes on until its SVID is over, and
// not longer, because by then the agent would have said which CAs are gone.
package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/jotsmith/jotsmith/service/authn"
)

// Config is what Open needs.
type Config struct {
	WorkloadAPI  string        // the agent's socket, as in unix:///run/spire/agent.sock
	StartTimeout time.Duration // how long Open waits for the first SVID, more than 0
	Settings     Settings
	Log          *slog.Logger
	// OnChange is called after each change of who is trusted: callers who are
	// known by now may not be any more. It may be nil.
	OnChange func()
}

// Settings are what of a Source can be changed while it is open.
type Settings struct {
	// ID is the SPIFFE ID of the SVID that is the server's own, where the agent
	// hands out several. "" takes the first, which the agent's list begins with
	// (SPIFFE Workload API section 5.3).
	ID string
	// TrustDomains are those whose workloads are known, and no others. None means
	// the trust domain of the server's own SVID.
	TrustDomains []string
	// Optional lets in callers without a certificate too, as authn.Terms has it.
	Optional bool
}

// Source keeps the terms of one listener as the agent has them. Close it after
// the last call. It is safe for concurrent use.
type Source struct {
	workloadAPI string
	log         *slog.Logger
	onChange    func()
	trust       *authn.Trust

	client  *workloadapi.Client
	cancel  context.CancelFunc
	running sync.WaitGroup
	changed chan struct{} // has one where a look at the SVID's end is due
	ready   chan struct{} // closed when the first SVID has been taken up

	mu       sync.Mutex
	settings Settings
	offered  *workloadapi.X509Context // all that the agent handed out last
	svid     *x509svid.SVID           // of that, the server's own; may be from before
	shown    tls.Certificate          // the same for TLS
	warned   time.Time                // when the next warning about its end is due
	fault    error                    // why there is no newer one; nil while all is well
	since    time.Time                // of the fault
	missing  string                   // trust domains without a bundle, as they were logged
}

// Open connects to the agent and waits for the first SVID: until the start
// timeout, or ctx ends. Its error names the socket, what is wrong and the mend.
func Open(ctx context.Context, cfg Config) (_ *Source, err error) {
	if err := cfg.Settings.check(); err != nil {
		return nil, err
	}
	s := newSource(cfg)
	if s.client, err = dial(ctx, cfg.WorkloadAPI); err != nil {
		return nil, fmt.Errorf("SPIFFE Workload API %s: %w", cfg.WorkloadAPI, err)
	}
	var running context.Context
	running, s.cancel = context.WithCancel(context.WithoutCancel(ctx)) // it ends at Close
	s.running.Go(func() { s.follow(running) })
	s.running.Go(func() { s.watchEnd(running) })

	timer := time.NewTimer(cfg.StartTimeout)
	defer timer.Stop()
	select {
	case <-s.ready:
		return s, nil
	case <-timer.C:
		err = fmt.Errorf("no SVID from the SPIFFE Workload API %s within %s: %w", cfg.WorkloadAPI, cfg.StartTimeout, s.why())
	case <-ctx.Done():
		err = fmt.Errorf("no SVID from the SPIFFE Workload API %s: %w", cfg.WorkloadAPI, ctx.Err())
	}
	return nil, errors.Join(err, s.Close())
}

// newSource returns a Source that is not connected.
func newSource(cfg Config) *Source {
	s := &Source{
		workloadAPI: cfg.WorkloadAPI, log: cfg.Log.With("workload_api", cfg.WorkloadAPI), onChange: cfg.OnChange,
		// Nobody is let in before there is a certificate.
		trust:    authn.NewTrust(authn.Terms{ClientCAs: x509.NewCertPool()}),
		changed:  make(chan struct{}, 1),
		ready:    make(chan struct{}),
		settings: cfg.Settings,
	}
	if s.onChange == nil {
		s.onChange = func() {}
	}
	return s
}

// Close ends the stream and waits until it has ended. What was trusted last is
// trusted still. It may be called again.
func (s *Source) Close() error {
	s.cancel()
	s.running.Wait()
	return s.client.Close()
}

// Trust is the listener's: the Source replaces its terms.
func (s *Source) Trust() *authn.Trust { return s.trust }

// Check says why settings cannot be taken up now: they are malformed, or name
// another SVID than before, which the agent does not hand out.
func (s *Source) Check(settings Settings) error {
	if err := settings.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := settings.pick(s.offered.SVIDs, time.Now()); err != nil && settings.ID != s.settings.ID {
		return fmt.Errorf("SPIFFE Workload API %s: %w", s.workloadAPI, err)
	}
	return nil
}

// Set takes up settings that Check has nothing against. Where the agent has
// taken their SVID away meanwhile, the one of before goes on.
func (s *Source) Set(settings Settings) {
	s.mu.Lock()
	s.settings = settings
	err := s.settle()
	s.note(err)
	s.mu.Unlock()
	s.tell()
}

// Status is what a Source has and lacks.
type Status struct {
	ID           string    // of the server's own SVID
	NotAfter     time.Time // when that is over
	TrustDomains []string  // whose workloads are known
	Fault        error     // why the agent gives nothing newer, or what lacks in what it gave; else nil
}

// Status returns the state of now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{ID: s.svid.ID.String(), NotAfter: s.svid.Certificates[0].NotAfter, Fault: s.fault}
	for _, domain := range s.callers().accepted {
		status.TrustDomains = append(status.TrustDomains, domain.Name())
	}
	if s.fault == nil && s.missing != "" {
		status.Fault = fmt.Errorf("the agent has no bundle of %s", s.missing)
	}
	return status
}

// take takes up what the agent hands out, which is all that it has for us.
func (s *Source) take(offered *workloadapi.X509Context) {
	s.mu.Lock()
	s.offered = offered
	err := s.settle()
	s.note(err)
	taken := s.svid != nil
	s.mu.Unlock()
	if taken {
		s.tell()
	}
}

// failed takes note of a fault of the stream, or of what came by it.
func (s *Source) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(err)
}

// tell has those look who hang on who is trusted.
func (s *Source) tell() {
	select {
	case s.changed <- struct{}{}:
	default: // a look is due already
	}
	s.onChange()
}

// settle makes the terms of what the agent has handed out and of the settings.
// Where that has no SVID for us, the one of before goes on with the bundles of
// now, and the error says why. The caller holds mu.
func (s *Source) settle() error {
	svid, err := s.settings.pick(s.offered.SVIDs, time.Now())
	var shown *tls.Certificate
	if err == nil {
		shown, err = tlsconfig.GetCertificate(svid)(nil)
	}
	switch {
	case err != nil && s.svid == nil:
		return err
	case err != nil:
	case s.svid == nil || !svid.Certificates[0].Equal(s.svid.Certificates[0]):
		first := s.svid == nil
		s.svid, s.shown = svid, *shown
		leaf := svid.Certificates[0]
		s.warned = leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / nearEnd)
		s.log.Info("SVID taken up", "spiffe_id", svid.ID.String(), "expire_time", leaf.NotAfter)
		if first {
			defer close(s.ready)
		}
	}
	callers := s.callers()
	if missing := strings.Join(callers.missing(), ", "); missing != s.missing {
		if s.missing = missing; missing != "" {
			s.log.Warn("the SPIFFE agent has no bundle of a trust domain that is accepted; its callers are refused", "trust_domains", missing)
		}
	}
	s.trust.Replace(authn.Terms{
		Certificate: s.shown,
		ClientCAs:   callers.authorities(),
		Verify:      callers.verify,
		Until:       s.svid.Certificates[0].NotAfter,
		Optional:    s.settings.Optional,
	})
	return err
}

// note keeps and logs what became of the newest attempt: err, or nil. The caller
// holds mu.
func (s *Source) note(err error) {
	before := s.fault
	s.fault = err
	switch {
	case err == nil && before == nil:
	case err == nil:
		s.log.Info("the SPIFFE agent is back", "away_for", time.Since(s.since).String())
	case before != nil && before.Error() == err.Error():
	case s.svid == nil:
		s.log.Warn("no SVID from the SPIFFE agent yet", "error", err)
	default:
		s.log.Warn("no SVID from the SPIFFE agent; the last one goes on", "expire_time", s.svid.Certificates[0].NotAfter, "error", err)
	}
	if before == nil {
		s.since = time.Now()
	}
}

// why says what keeps the first SVID from coming.
func (s *Source) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return errSilent
	}
	return s.fault
}

// callers are who is known by now. The caller holds mu.
func (s *Source) callers() callers {
	out := callers{bundles: s.offered.Bundles}
	for _, name := range s.settings.TrustDomains {
		if domain, err := trustDomain(name); err == nil { // check has seen it
			out.accepted = append(out.accepted, domain)
		}
	}
	if len(s.settings.TrustDomains) == 0 {
		out.accepted = []spiffeid.TrustDomain{s.svid.ID.TrustDomain()}
	}
	return out
}

// check refuses what is no SPIFFE ID or trust domain.
func (s Settings) check() error {
	if s.ID != "" {
		if err := CheckID(s.ID); err != nil {
			return fmt.Errorf("%q is no SPIFFE ID of a workload: %w", s.ID, err)
		}
	}
	for _, name := range s.TrustDomains {
		if _, err := trustDomain(name); err != nil {
			return err
		}
	}
	return nil
}

// pick returns the SVID that is the server's own.
func (s Settings) pick(svids []*x509svid.SVID, now time.Time) (*x509svid.SVID, error) {
	var others []string
	for _, svid := range svids {
		others = append(others, svid.ID.String())
		if s.ID != "" && svid.ID.String() != s.ID {
			continue
		}
		if over := svid.Certificates[0].NotAfter; now.After(over) {
			return nil, fmt.Errorf("the agent hands out an SVID that expired at %s; see whether it reaches its server, and whether the clocks agree", over.Format(time.RFC3339))
		}
		return svid, nil
	}
	return nil, fmt.Errorf("the agent hands out %s and not %s; correct spiffe_id, or register it for this process", words(strings.Join(others, ", ")), s.ID)
}
