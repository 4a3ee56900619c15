package emulator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts invocations, by function.
type Metrics struct {
	invocations *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	cold        *prometheus.HistogramVec
	memory      *prometheus.GaugeVec
}

// NewMetrics registers the metrics of an Emulator.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	by := []string{"function"}
	buckets := prometheus.ExponentialBuckets(0.001, 4, 9) // 1 ms to 65 s
	m := &Metrics{
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_function_invocations_total", Help: "Invocations that ended, with success or error.",
		}, []string{"function", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pulsevault_function_duration_seconds", Help: "Duration of invocations, without init.", Buckets: buckets,
		}, by),
		cold: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pulsevault_function_init_seconds", Help: "Duration of cold starts, from the start of a process to its first question.", Buckets: buckets,
		}, by),
		memory: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pulsevault_function_memory_bytes", Help: "Most memory that the process of the last invocation has held.",
		}, by),
	}
	reg.MustRegister(m.invocations, m.duration, m.cold, m.memory)
	return m
}

func (m *Metrics) invoked(function string, took, init time.Duration, memory int64, failed bool) {
	result := "success"
	if failed {
		result = "error"
	}
	m.invocations.WithLabelValues(function, result).Inc()
	m.duration.WithLabelValues(function).Observe(took.Seconds())
	m.memory.WithLabelValues(function).Set(float64(memory))
	if init > 0 {
		m.cold.WithLabelValues(function).Observe(init.Seconds())
	}
}

// failedInit counts an invocation for which no process could be started.
func (m *Metrics) failedInit(function string) { m.invocations.WithLabelValues(function, "error").Inc() }
