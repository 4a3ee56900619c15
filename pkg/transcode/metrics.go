package transcode

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the transcodes of this process.
type Metrics struct {
	results        *prometheus.CounterVec
	pieces         *prometheus.CounterVec
	duration       prometheus.Histogram
	timeToPlayable prometheus.Histogram
}

// The results of an attempt.
const (
	resultSuccess   = "success"
	resultFailed    = "failed"     // given up
	resultRetried   = "retried"    // failed, will be tried again
	resultGivenBack = "given_back" // the worker stopped
)

// NewMetrics registers the metrics of transcoding.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_transcodes_total", Help: "Attempts to transcode a video, by result.",
		}, []string{"result"}),
		pieces: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pulsevault_transcode_pieces_total", Help: "Tries to make or to join pieces of split videos, by result.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pulsevault_transcode_duration_seconds", Help: "Wall time of successful transcodes.",
			Buckets: []float64{1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800},
		}),
	}
	m.timeToPlayable = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pulsevault_time_to_playable_seconds", Help: "From finalize to the first master playlist, of the videos that this process made playable.",
		Buckets: []float64{0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800, 7200},
	})
	for _, r := range []string{resultSuccess, resultFailed, resultRetried, resultGivenBack} {
		m.results.WithLabelValues(r)
		m.pieces.WithLabelValues(r)
	}
	reg.MustRegister(m.results, m.pieces, m.duration, m.timeToPlayable)
	return m
}

func (m *Metrics) count(result string) { m.results.WithLabelValues(result).Inc() }

func (m *Metrics) countPiece(result string) { m.pieces.WithLabelValues(result).Inc() }

func (m *Metrics) playable(after time.Duration) { m.timeToPlayable.Observe(after.Seconds()) }

func (m *Metrics) succeeded(took time.Duration) {
	m.count(resultSuccess)
	m.duration.Observe(took.Seconds())
}
