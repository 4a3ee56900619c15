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
	open     redisdb.OpenUploads
	log      *slog.Logger
}

var (
	totalUploads = prometheus.NewDesc("pulsevault_all_uploads_completed_total", "Completed uploads of all processes, from Redis.", nil, nil)
	totalSuccess = prometheus.NewDesc("pulsevault_all_transcodes_success_total", "Successful transcodes of all processes, from Redis.", nil, nil)
	totalFailed  = prometheus.NewDesc("pulsevault_all_transcodes_failed_total", "Failed transcodes of all processes, from Redis.", nil, nil)
	totalOpen    = prometheus.NewDesc("pulsevault_all_uploads_open", "Uploads that have not become videos, of all processes, from Redis.", nil, nil)
	totalPending = prometheus.NewDesc("pulsevault_all_uploads_pending_bytes", "What these uploads have together by the lengths they were created with, from Redis.", nil, nil)
)

func (t totals) Describe(ch chan<- *prometheus.Desc) {
	ch <- totalUploads
	ch <- totalSuccess
	ch <- totalFailed
	ch <- totalOpen
	ch <- totalPending
}

func (t totals) Collect(ch chan<- prometheus.Metric) {
	n, err := t.counters.Totals(context.Background())
	var open, pending int64
	if err == nil {
		open, pending, err = t.open.Get(context.Background())
	}
	if err != nil {
		t.log.Debug("totals cannot be read", "error", err)
		return
	}
	ch <- prometheus.MustNewConstMetric(totalUploads, prometheus.CounterValue, float64(n.UploadsCompleted))
	ch <- prometheus.MustNewConstMetric(totalSuccess, prometheus.CounterValue, float64(n.TranscodeSuccess))
	ch <- prometheus.MustNewConstMetric(totalFailed, prometheus.CounterValue, float64(n.TranscodeFailed))
	ch <- prometheus.MustNewConstMetric(totalOpen, prometheus.GaugeValue, float64(open))
	ch <- prometheus.MustNewConstMetric(totalPending, prometheus.GaugeValue, float64(pending))
}
