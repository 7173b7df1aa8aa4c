package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backend counts what a key store does. It is the same over all configurations
// that have a store of its name. A nil Backend counts nothing.
type Backend struct {
	signatures prometheus.Counter
	times      prometheus.Histogram
	errors     map[string]prometheus.Counter // by kind
}

// Backend returns what counts for the key store of a name, until SetNames
// forgets the name. It is nil where m is.
func (m *Metrics) Backend(name string) *Backend {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.backends[name]
	if !ok {
		b = &Backend{signatures: m.signatures.WithLabelValues(name), errors: map[string]prometheus.Counter{}}
		b.times, _ = m.storeTimes.WithLabelValues(name).(prometheus.Histogram) // as its documentation says
		for _, kind := range m.kinds {
			b.errors[kind] = m.backendErrors.WithLabelValues(name, kind)
		}
		m.backends[name] = b
	}
	return b
}

// Answered counts how long the store took to answer, with whatever.
func (b *Backend) Answered(took time.Duration) {
	if b != nil {
		b.times.Observe(took.Seconds())
	}
}

// Signed counts a signature.
func (b *Backend) Signed() {
	if b != nil {
		b.signatures.Inc()
	}
}

// Failed counts an error, by one of the kinds that New was told of.
func (b *Backend) Failed(kind string) {
	if b == nil {
		return
	}
	if counter, ok := b.errors[kind]; ok {
		counter.Inc()
	}
}

// Audit counts the records of the audit log. A nil Audit counts nothing.
type Audit struct {
	records, failures prometheus.Counter
	flushes           prometheus.Histogram
}

func newAudit() *Audit {
	return &Audit{
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jotsmith_audit_records_total", Help: "Records that the audit log confirmed.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jotsmith_audit_failures_total",
			Help: "Records that the audit log could not write; no token came of them.",
		}),
		flushes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jotsmith_audit_flush_duration_seconds",
			Help: "How long the audit log took to write the records that waited, and to have the disk confirm them.", Buckets: buckets(),
		}),
	}
}

// Recorded counts records that were confirmed.
func (a *Audit) Recorded(records int) {
	if a != nil {
		a.records.Add(float64(records))
	}
}

// Flushed takes note of how long it took to write records and have the disk confirm
// them, as far as that is waited for.
func (a *Audit) Flushed(took time.Duration) {
	if a != nil {
		a.flushes.Observe(took.Seconds())
	}
}

// Failed counts records that were not written.
func (a *Audit) Failed(records int) {
	if a != nil {
		a.failures.Add(float64(records))
	}
}
