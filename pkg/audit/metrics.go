package audit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what a Log, a Ledger or an Outbox does. A nil *Metrics counts nothing.
type Metrics struct {
	entries *prometheus.CounterVec
	sends   *prometheus.CounterVec
	errors  *prometheus.CounterVec
	retries *prometheus.CounterVec
	gaps    *prometheus.CounterVec
	syncs   prometheus.Histogram
}

// NewMetrics registers the metrics with reg. Logs that share a registry share one Metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_entries_total",
			Help: "Entries this process has written to the audit log.",
		}, []string{"category"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_sent_total",
			Help: "Entries this process has sent to the queue of the audit log.",
		}, []string{"category"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_append_errors_total",
			Help: "Entries that could not be written to the audit log, not be synced, or not be sent.",
		}, []string{"category"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_write_retries_total",
			Help: "Writes to the audit log in a bucket that were tried again, because another process was faster or they failed.",
		}, []string{"category"}),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_audit_gaps_total",
			Help: "How often this process found that the audit log no longer held what had been written to it.",
		}, []string{"category"}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pulsevault_audit_sync_duration_seconds",
			Help:    "How long the disk, or the bucket, took to hold what was written.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 10),
		}),
	}
	reg.MustRegister(m.entries, m.sends, m.errors, m.retries, m.gaps, m.syncs)
	for _, c := range Categories {
		for _, v := range []*prometheus.CounterVec{m.entries, m.sends, m.errors, m.retries, m.gaps} {
			v.WithLabelValues(string(c))
		}
	}
	return m
}

func (m *Metrics) wrote(c Category, n int) {
	if m != nil {
		m.entries.WithLabelValues(string(c)).Add(float64(n))
	}
}

func (m *Metrics) sent(c Category) {
	if m != nil {
		m.sends.WithLabelValues(string(c)).Inc()
	}
}

func (m *Metrics) retried(c Category) {
	if m != nil {
		m.retries.WithLabelValues(string(c)).Inc()
	}
}

func (m *Metrics) missed(c Category) {
	if m != nil {
		m.gaps.WithLabelValues(string(c)).Inc()
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
