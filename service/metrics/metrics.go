// Package metrics counts what the server does, for Prometheus and for the
// operators' Status. What happens on the path of a token is counted by counters
// that are found before it happens: it costs no allocation, and far less than a
// microsecond. What can be looked up is looked up when somebody asks (State).
//
// Every label is a name of the configuration, of the API or of this program,
// never a text of a caller, so that there are no more series than names. Names
// that a new configuration does not have are forgotten.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what New needs.
type Config struct {
	Version string       // of the program
	Calls   []string     // the methods that answer once, by which calls are counted
	Streams []string     // those that go on, whose time says nothing
	Reasons []string     // of failures on the wire
	Kinds   []string     // of errors of a key store
	State   func() State // asked at each scrape; nil has no state
}

// Metrics are all metrics of a server. It is safe for concurrent use.
type Metrics struct {
	// Audit counts the records of the audit log.
	Audit *Audit

	calls         *prometheus.CounterVec   // method, code
	durations     *prometheus.HistogramVec // method, outcome
	failures      *prometheus.CounterVec   // reason
	panics        prometheus.Counter
	published     *prometheus.CounterVec   // code
	tokens        *prometheus.CounterVec   // profile, reused
	signatures    *prometheus.CounterVec   // backend
	backendErrors *prometheus.CounterVec   // backend, kind
	storeTimes    *prometheus.HistogramVec // backend
	build         *prometheus.GaugeVec     // version, go_version

	registry *prometheus.Registry
	methods  map[string]*method
	reasons  map[string]prometheus.Counter
	kinds    []string

	mu       sync.Mutex                          // one writer of what follows
	profiles atomic.Pointer[map[string]*profile] // never changed, always replaced
	backends map[string]*Backend
}

// method counts the calls of one method.
type method struct {
	ok               prometheus.Counter
	errors           atomic.Int64
	answered, failed prometheus.Histogram // nil for a stream
}

// profile counts the tokens of one profile.
type profile struct{ minted, reused prometheus.Counter }

// buckets are the upper bounds of the histograms, in seconds: from less than a
// kept token takes to the longest that a call may.
func buckets() []float64 {
	return []float64{
		50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10,
	}
}

// New returns the metrics of a server, of which nothing has happened yet.
func New(cfg Config) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets()}, labels)
	}
	m := &Metrics{
		calls: counter("jotsmith_calls_total",
			"Calls that ended, by method and gRPC code. What the gate refused is not among them.", "method", "code"),
		durations: histogram("jotsmith_call_duration_seconds",
			"How long calls took, by method and outcome (ok or failed); not of streams.", "method", "outcome"),
		failures: counter("jotsmith_failures_total",
			"Requests, and items of batches, that were refused or failed, by the reason on the wire.", "reason"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jotsmith_panics_total", Help: "Calls that panicked, which their callers got as INTERNAL.",
		}),
		published: counter("jotsmith_published_responses_total",
			"Answers to requests for published keys over HTTP, by status.", "code"),
		tokens: counter("jotsmith_tokens_total",
			"Tokens handed out, by profile, and whether they were signed for an earlier request.", "profile", "reused"),
		signatures: counter("jotsmith_backend_signatures_total",
			"Signatures that a key store made, canaries and checkpoints included.", "backend"),
		backendErrors: counter("jotsmith_backend_errors_total",
			"Signatures and looks at keys that failed in a key store or before it, by kind.", "backend", "kind"),
		storeTimes: histogram("jotsmith_backend_signature_duration_seconds",
			"How long a key store took for a signature or an error, without the wait for a turn.", "backend"),
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "jotsmith_build_info", Help: "1, with the program's version and that of Go.",
		}, []string{"version", "go_version"}),
		Audit:    newAudit(),
		registry: prometheus.NewRegistry(),
		methods:  map[string]*method{},
		reasons:  map[string]prometheus.Counter{},
		kinds:    cfg.Kinds,
		backends: map[string]*Backend{},
	}
	m.profiles.Store(&map[string]*profile{})
	m.build.WithLabelValues(cfg.Version, runtime.Version()).Set(1)
	for _, name := range cfg.Calls {
		answered, failed := m.durations.WithLabelValues(name, "ok"), m.durations.WithLabelValues(name, "failed")
		known := &method{ok: m.calls.WithLabelValues(name, "OK")}
		known.answered, _ = answered.(prometheus.Histogram) // as its documentation says
		known.failed, _ = failed.(prometheus.Histogram)
		m.methods[name] = known
	}
	for _, reason := range cfg.Reasons {
		m.reasons[reason] = m.failures.WithLabelValues(reason) // so that the first failure is an increase
	}
	for _, name := range cfg.Streams {
		m.methods[name] = &method{ok: m.calls.WithLabelValues(name, "OK")}
	}
	m.registry.MustRegister(
		m.calls, m.durations, m.failures, m.panics, m.published, m.tokens, m.signatures, m.backendErrors, m.storeTimes, m.build,
		m.Audit.records, m.Audit.failures, m.Audit.flushes, newLookup(cfg.State),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// maxScrapes is how many requests are answered at once.
const maxScrapes = 8

// Handler serves the metrics in Prometheus' formats. What cannot be gathered is
// logged.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, ErrorLog: errorLog{log},
	})
}

// errorLog is a logger as promhttp wants it.
type errorLog struct{ log *slog.Logger }

// Println logs what went wrong.
func (l errorLog) Println(words ...any) { l.log.Error("metrics not gathered", "error", words) }

// Call counts a call that ended with a code, and with a reason where it failed.
// A method that New was not told of is not counted.
func (m *Metrics) Call(name, code, reason string, took time.Duration) {
	known, ok := m.methods[name]
	if !ok {
		return
	}
	observer := known.answered
	if reason == "" {
		known.ok.Inc()
	} else {
		known.errors.Add(1)
		m.calls.WithLabelValues(name, code).Inc()
		m.Failure(reason)
		observer = known.failed
	}
	if observer != nil {
		observer.Observe(took.Seconds())
	}
}

// Failure counts a request that failed without being a call: a batch's item.
func (m *Metrics) Failure(reason string) {
	if counter, ok := m.reasons[reason]; ok {
		counter.Inc()
	}
}

// Panic counts a call that panicked.
func (m *Metrics) Panic() { m.panics.Inc() }

// Published counts an answer to a request for published keys, which has one of a
// few statuses.
func (m *Metrics) Published(status int) { m.published.WithLabelValues(strconv.Itoa(status)).Inc() }

// Token counts a token that is handed out, unless its profile is none of those
// of the configuration any more.
func (m *Metrics) Token(name string, reused bool) {
	known, ok := (*m.profiles.Load())[name]
	switch {
	case !ok:
	case reused:
		known.reused.Inc()
	default:
		known.minted.Inc()
	}
}

// SetNames says which profiles and backends there are from now on, and forgets
// all others.
func (m *Metrics) SetNames(profiles, backends []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, now := *m.profiles.Load(), map[string]*profile{}
	for _, name := range profiles {
		if now[name] = before[name]; now[name] == nil {
			now[name] = &profile{
				minted: m.tokens.WithLabelValues(name, strconv.FormatBool(false)),
				reused: m.tokens.WithLabelValues(name, strconv.FormatBool(true)),
			}
		}
	}
	m.profiles.Store(&now)
	for name := range before {
		if _, stays := now[name]; !stays {
			m.tokens.DeletePartialMatch(prometheus.Labels{"profile": name})
		}
	}
	stay := map[string]bool{}
	for _, name := range backends {
		stay[name] = true
	}
	for name := range m.backends {
		if stay[name] {
			continue
		}
		delete(m.backends, name)
		for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.signatures, m.backendErrors, m.storeTimes} {
			vec.DeletePartialMatch(prometheus.Labels{"backend": name})
		}
	}
}
