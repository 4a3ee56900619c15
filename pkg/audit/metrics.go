package audit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what a Log does. A nil *Metrics counts nothing.
type Metrics struct {
	entries *prometheus.CounterVec
	errors  *prometheus.CounterVec
	syncs   prometheus.Histogram
}

// NewMetrics registers the metrics with reg. Logs that share a registry share one Metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_entries_total",
			Help: "Entries this process has written to the audit log.",
		}, []string{"category"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_append_errors_total",
			Help: "Entries that could not be written to the audit log, or not be synced.",
		}, []string{"category"}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pulsevault_audit_sync_duration_seconds",
			Help:    "How long the disk took to hold what was written.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 10),
		}),
	}
	reg.MustRegister(m.entries, m.errors, m.syncs)
	for _, c := range Categories {
		m.entries.WithLabelValues(string(c))
		m.errors.WithLabelValues(string(c))
	}
	return m
}

func (m *Metrics) wrote(c Category, n int) {
	if m != nil {
		m.entries.WithLabelValues(string(c)).Add(float64(n))
	}
}

func (m *Metrics) failed(c Category, n int) {
	if m != nil {
		m.errors.WithLabelValues(string(c)).Add(float64(n))
	}
}

func (m *Metrics) synced(d time.Duration) {
	if m != nil {
		m.syncs.Observe(d.Seconds())
	}
}
