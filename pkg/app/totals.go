package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/redisdb"
)

// totals shows the counters that all processes share, apart from the counters of this one. While Redis cannot be reached
// they are missing; the scrape goes on.
type totals struct {
	counters redisdb.Counters
	log      *slog.Logger
}

var (
	totalUploads = prometheus.NewDesc("pulsevault_all_uploads_completed_total", "Completed uploads of all processes, from Redis.", nil, nil)
	totalSuccess = prometheus.NewDesc("pulsevault_all_transcodes_success_total", "Successful transcodes of all processes, from Redis.", nil, nil)
	totalFailed  = prometheus.NewDesc("pulsevault_all_transcodes_failed_total", "Failed transcodes of all processes, from Redis.", nil, nil)
)

func (t totals) Describe(ch chan<- *prometheus.Desc) {
	ch <- totalUploads
	ch <- totalSuccess
	ch <- totalFailed
}

func (t totals) Collect(ch chan<- prometheus.Metric) {
	n, err := t.counters.Totals(context.Background())
	if err != nil {
		t.log.Debug("totals cannot be read", "error", err)
		return
	}
	ch <- prometheus.MustNewConstMetric(totalUploads, prometheus.CounterValue, float64(n.UploadsCompleted))
	ch <- prometheus.MustNewConstMetric(totalSuccess, prometheus.CounterValue, float64(n.TranscodeSuccess))
	ch <- prometheus.MustNewConstMetric(totalFailed, prometheus.CounterValue, float64(n.TranscodeFailed))
}
