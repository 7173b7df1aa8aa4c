package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// The clock is compared with a few answers, each of which says the second in
// which it was made.
const (
	clockSamples = 5
	clockOff     = 3 * time.Second  // a difference that is worth a word
	clockWrong   = 30 * time.Second // one that consumers have refused tokens for
)

// reading is how far our clock is ahead of another.
type reading struct {
	of     string        // whose clock
	ahead  time.Duration // below 0 is behind
	within time.Duration // how wrong that can be
}

// certain is what of the difference is beyond doubt.
func (r reading) certain() time.Duration {
	switch {
	case r.ahead > r.within:
		return r.ahead - r.within
	case r.ahead < -r.within:
		return r.ahead + r.within
	default:
		return 0
	}
}

// readClock compares our clock with a server's: the median of a few answers, each
// taken to be made half way between the request and its end.
func readClock(ctx context.Context, client *http.Client, url string, now func() time.Time) (reading, error) {
	var samples []reading
	for range clockSamples {
		sample, err := readOnce(ctx, client, url, now)
		if err != nil {
			return reading{}, err
		}
		samples = append(samples, sample)
	}
	slices.SortFunc(samples, func(a, b reading) int { return int(a.ahead - b.ahead) })
	return samples[len(samples)/2], nil
}

func readOnce(ctx context.Context, client *http.Client, url string, now func() time.Time) (reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reading{}, err
	}
	sent := now()
	resp, err := client.Do(req)
	if err != nil {
		return reading{}, err
	}
	got := now()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxDocument)) // so that the connection is used again
	_ = resp.Body.Close()                                              // which was read
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return reading{}, errors.New("the answer has no Date")
	}
	trip := got.Sub(sent)
	// Date has whole seconds, rounded down.
	return reading{ahead: sent.Add(trip/2).Sub(date) - time.Second/2, within: trip/2 + time.Second/2}, nil
}

// storeClocks compares our clock with that of each key store that says its own.
func (e *Exam) storeClocks(ctx context.Context) (*reading, []Finding) {
	var first *reading
	var findings []Finding
	asked := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(e.Config.GetBackends())) {
		store := e.Store(e.Config.GetBackends()[name].GetUri())
		if store.Endpoint == nil {
			continue
		}
		client, url, err := store.Endpoint(ctx)
		if err != nil {
			findings = append(findings, Finding{Fault, "backend " + name, err.Error(), "mend the backend's uri, or the AWS settings of the server's environment"})
			continue
		}
		if asked[url] {
			client.CloseIdleConnections()
			continue
		}
		asked[url] = true
		r, more := e.compareClock(ctx, client, url, "the KMS of backend "+name)
		client.CloseIdleConnections()
		findings = append(findings, more...)
		if first == nil {
			first = r
		}
	}
	return first, findings
}

// consumerClock compares our clock with App Store Connect's, where a profile is
// for it and we may ask.
func (e *Exam) consumerClock(ctx context.Context) (*reading, []Finding) {
	if !e.Consumers || len(e.appStoreProfiles()) == 0 {
		return nil, nil
	}
	return e.compareClock(ctx, e.HTTP, e.AppStore, "App Store Connect")
}

func (e *Exam) compareClock(ctx context.Context, client *http.Client, url, of string) (*reading, []Finding) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r, err := readClock(ctx, client, url, e.Now)
	if err != nil {
		return nil, []Finding{{Note, "clock", fmt.Sprintf("could not be compared with that of %s: %v", of, err), ""}}
	}
	r.of = of
	return &r, e.judgeClock(r)
}

// judgeClock says what a difference costs.
func (e *Exam) judgeClock(r reading) []Finding {
	off := r.certain()
	severity := Warning
	switch {
	case off.Abs() <= clockOff:
		return nil
	case off.Abs() > clockWrong:
		severity = Fault
	}
	var what string
	if off > 0 {
		what = fmt.Sprintf("%s ahead of %s: tokens say that they were issued in the future, and end so much later than they should by a verifier's clock", inWords(off), r.of)
	} else {
		what = fmt.Sprintf("%s behind %s: each token has so much less time with its consumer", inWords(off), r.of)
		if p, life := e.shortest(); p != "" {
			left := max(0, life+off)
			what += fmt.Sprintf(" (of %s of profile %s, %s are left)", inWords(life), p, inWords(left))
		}
	}
	return []Finding{{severity, "clock", what, "have NTP keep this machine's clock: timedatectl set-ntp true, or the host's chrony"}}
}

// shortest returns the profile whose tokens live for the shortest time.
func (e *Exam) shortest() (name string, life time.Duration) {
	for i := range e.Config.ClaimProfiles {
		p := &e.Config.ClaimProfiles[i]
		if p.Expires() && (name == "" || p.DefaultTTL < life) {
			name, life = p.Name, p.DefaultTTL
		}
	}
	return name, life
}

// inWords writes a duration without its sign and its fractions of a second.
func inWords(d time.Duration) string { return d.Abs().Round(time.Second).String() }
