package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is what is looked up when somebody asks, and not counted as it happens.
type State struct {
	CallsInFlight int64
	GateRefusals  int64 // since the start
	Handshakes    int64 // that failed, since the start
	QuotaRefusals int64 // since the start
	Watches       int
	Tokens        int    // kept for reuse
	TokenBytes    uint64 // that they take, shared ones aside
	Backends      []BackendState
	Keys          []KeyState
	NewestExpiry  map[string]time.Time // by profile, of those whose tokens last

	Generation     string    // of the configuration that answers
	TakenUp        time.Time // when it was
	Reloads        int64     // how often one was taken up, the first included
	RefusedReloads int64
	LastReload     time.Time // when one was taken up or refused last
	LastRefused    bool

	Certificates []Certificate
}

// BackendState is what a key store is busy with.
type BackendState struct {
	Name              string
	InFlight, Waiting int
}

// KeyState says whether a key can sign.
type KeyState struct {
	Name             string
	Healthy, Latched bool
	In               map[string]bool // by backend, whether it can sign there
}

// Certificate is one that a listener shows.
type Certificate struct {
	Listener string
	NotAfter time.Time
}

// lookup collects a State.
type lookup struct {
	state func() State

	calls, gate, quota, watches, tokens, tokenBytes *prometheus.Desc
	handshakes                                      *prometheus.Desc
	inFlight, waiting                               *prometheus.Desc // backend
	healthy, latched                                *prometheus.Desc // key
	healthyIn                                       *prometheus.Desc // key, backend
	expiry                                          *prometheus.Desc // profile
	config                                          *prometheus.Desc // generation
	takenUp, lastReload, lastRefused                *prometheus.Desc
	reloads                                         *prometheus.Desc // result
	certificates                                    *prometheus.Desc // listener
}

func newLookup(state func() State) *lookup {
	if state == nil {
		state = func() State { return State{} }
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &lookup{
		state:      state,
		calls:      desc("jotsmith_calls_in_flight", "Calls under way, streams aside."),
		gate:       desc("jotsmith_gate_refusals_total", "Calls that the gate refused because too many were under way."),
		quota:      desc("jotsmith_quota_refusals_total", "Requests that a grant's quota refused."),
		handshakes: desc("jotsmith_handshake_failures_total", "Connections that ended in their handshake; one that says nothing is not counted."),
		watches:    desc("jotsmith_watches_open", "WatchToken and WatchKeys streams that are open."),
		tokens:     desc("jotsmith_cached_tokens", "Tokens that are kept for reuse."),
		tokenBytes: desc("jotsmith_cached_tokens_bytes", "What the kept tokens take of limits.token_cache_mib."),
		inFlight:   desc("jotsmith_backend_signatures_in_flight", "Signatures under way in a key store.", "backend"),
		waiting:    desc("jotsmith_backend_calls_waiting", "Calls that wait for their turn in a key store.", "backend"),
		healthy:    desc("jotsmith_key_healthy", "1 where the key could sign when it was last asked, in any of its backends.", "key"),
		latched:    desc("jotsmith_key_latched", "1 where the key is out of use until a reload, because a store lied.", "key"),
		healthyIn:  desc("jotsmith_key_backend_healthy", "1 where the key could sign in this backend when it was last asked there.", "key", "backend"),
		expiry: desc("jotsmith_token_newest_expiry_timestamp_seconds",
			"When the newest token of a profile ends, of profiles whose tokens are valid for more than a day.", "profile"),
		config:      desc("jotsmith_config_info", "1, with the generation of the configuration that answers.", "generation"),
		takenUp:     desc("jotsmith_config_taken_up_timestamp_seconds", "When the configuration that answers was taken up."),
		lastReload:  desc("jotsmith_config_last_reload_timestamp_seconds", "When a configuration was last read anew, whatever came of it."),
		lastRefused: desc("jotsmith_config_last_reload_refused", "1 where the configuration that was read last was refused, and the one before goes on."),
		reloads:     desc("jotsmith_config_reloads_total", "Configurations that were read, the first included, by result (taken_up or refused).", "result"),
		certificates: desc("jotsmith_certificate_expiry_timestamp_seconds",
			"When the certificate ends that a listener shows; 0 where it has none yet.", "listener"),
	}
}

// Describe sends the descriptions of all metrics of a State.
func (l *lookup) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		l.calls, l.gate, l.quota, l.handshakes, l.watches, l.tokens, l.tokenBytes, l.inFlight, l.waiting, l.healthy, l.latched, l.healthyIn, l.expiry,
		l.config, l.takenUp, l.lastReload, l.lastRefused, l.reloads, l.certificates,
	} {
		out <- d
	}
}

// Collect sends the metrics of the State of now.
func (l *lookup) Collect(out chan<- prometheus.Metric) {
	s := l.state()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(l.calls, float64(s.CallsInFlight))
	counter(l.gate, s.GateRefusals)
	counter(l.quota, s.QuotaRefusals)
	counter(l.handshakes, s.Handshakes)
	gauge(l.watches, float64(s.Watches))
	gauge(l.tokens, float64(s.Tokens))
	gauge(l.tokenBytes, float64(s.TokenBytes))
	for _, b := range s.Backends {
		gauge(l.inFlight, float64(b.InFlight), b.Name)
		gauge(l.waiting, float64(b.Waiting), b.Name)
	}
	for _, k := range s.Keys {
		gauge(l.healthy, truth(k.Healthy), k.Name)
		gauge(l.latched, truth(k.Latched), k.Name)
		for backend, healthy := range k.In {
			gauge(l.healthyIn, truth(healthy), k.Name, backend)
		}
	}
	for profile, at := range s.NewestExpiry {
		gauge(l.expiry, seconds(at), profile)
	}
	gauge(l.config, 1, s.Generation)
	gauge(l.takenUp, seconds(s.TakenUp))
	gauge(l.lastReload, seconds(s.LastReload))
	gauge(l.lastRefused, truth(s.LastRefused))
	counter(l.reloads, s.Reloads, "taken_up")
	counter(l.reloads, s.RefusedReloads, "refused")
	for _, c := range s.Certificates {
		gauge(l.certificates, seconds(c.NotAfter), c.Listener)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
