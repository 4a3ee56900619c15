package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/redisdb"
)

const (
	// auditPace is how many bytes of the audit log a check reads in a second: a tenth of what one core can, or less.
	auditPace = 8 << 20
	// maxFindings is how many findings of a check are logged.
	maxFindings = 20
)

// auditCheck shows what the last check of the audit log by this process found. Before the first one has ended, results are
// missing.
type auditCheck struct {
	every  time.Duration
	last   atomic.Pointer[auditResult]
	failed atomic.Int64
}

// auditResult is what a check found, when it ended and how long it took.
type auditResult struct {
	findings int
	entries  uint64
	at       time.Time
	took     time.Duration
}

var (
	checkEvery    = prometheus.NewDesc("pulsevault_audit_check_interval_seconds", "Time from one check of the whole audit log to the next.", nil, nil)
	checkFailures = prometheus.NewDesc("pulsevault_audit_check_failures_total", "Checks that could not be brought to their end.", nil, nil)
	checkFindings = prometheus.NewDesc("pulsevault_audit_check_findings", "What the last check found that must not be; pulsevault audit verify tells what.", nil, nil)
	checkEntries  = prometheus.NewDesc("pulsevault_audit_check_entries", "Entries that the last check has read.", nil, nil)
	checkAt       = prometheus.NewDesc("pulsevault_audit_check_timestamp_seconds", "When the last check ended.", nil, nil)
	checkTook     = prometheus.NewDesc("pulsevault_audit_check_duration_seconds", "How long the last check took.", nil, nil)
)

func (c *auditCheck) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{checkEvery, checkFailures, checkFindings, checkEntries, checkAt, checkTook} {
		ch <- d
	}
}

func (c *auditCheck) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(checkEvery, prometheus.GaugeValue, c.every.Seconds())
	ch <- prometheus.MustNewConstMetric(checkFailures, prometheus.CounterValue, float64(c.failed.Load()))
	r := c.last.Load()
	if r == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(checkFindings, prometheus.GaugeValue, float64(r.findings))
	ch <- prometheus.MustNewConstMetric(checkEntries, prometheus.GaugeValue, float64(r.entries))
	ch <- prometheus.MustNewConstMetric(checkAt, prometheus.GaugeValue, float64(r.at.UnixMilli())/1000)
	ch <- prometheus.MustNewConstMetric(checkTook, prometheus.GaugeValue, r.took.Seconds())
}

// RunAuditChecks reads the whole audit log now and then, slowly, until ctx ends, and shows in the metrics whether it is what was
// written. It returns at once where that is switched off. What it holds the log against lies on this machine and in Redis, so
// it finds what was changed there by others; the proof for an auditor is audit verify with the public key, elsewhere.
func (a *App) RunAuditChecks(ctx context.Context) {
	every := a.config.AuditCheckInterval
	if every == 0 {
		return
	}
	check := &auditCheck{every: every}
	a.Registry.MustRegister(check)
	for {
		a.checkAudit(ctx, check)
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

func (a *App) checkAudit(ctx context.Context, check *auditCheck) {
	begun := time.Now()
	report, err := a.inspectAudit(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		check.failed.Add(1)
		a.Log.ErrorContext(ctx, "the audit log could not be checked; the next try is after AUDIT_CHECK_INTERVAL", "error", err)
		return
	}
	for i, f := range report.Findings {
		if i == maxFindings {
			break
		}
		a.Log.ErrorContext(ctx, "the audit log is not what was written", "place", f.Place, "reason", f.Reason)
	}
	r := auditResult{findings: len(report.Findings), at: time.Now(), took: time.Since(begun)}
	for _, c := range report.Chains {
		r.entries += c.Entries
	}
	check.last.Store(&r)
}

func (a *App) inspectAudit(ctx context.Context) (audit.Report, error) {
	i := audit.Inspection{Heads: auditHeads{redisdb.Heads{Client: a.redis}}, Pace: auditPace}
	if bucket, ok := a.media.(*media.Bucket); ok {
		return i.Bucket(ctx, bucket)
	}
	return i.Dir(ctx, a.config.AuditDir)
}
