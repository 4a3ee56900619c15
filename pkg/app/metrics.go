package app

import (
	"context"
	"net"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// openMetrics registers what belongs to no stage.
func (a *App) openMetrics(context.Context) error {
	c := a.config
	a.running = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pulsevault_worker_tasks_running", Help: "Tasks that this process is working on, by type.",
	}, []string{"type"})
	for _, t := range []vault.TaskType{vault.TranscodeVideo, vault.TranscodePiece, vault.JoinPieces} {
		a.running.WithLabelValues(string(t))
	}
	concurrency := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pulsevault_worker_concurrency", Help: "How many tasks this process works on at once at most.",
	})
	if c.works() {
		concurrency.Set(float64(c.WorkerConcurrency))
	}
	a.Registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		a.running, concurrency, volumeCollector(c.volumes()),
	)
	if c.AuthMode == AuthNone {
		a.tellVersion()
	}
	if c.TLSProbe != "" {
		a.Registry.MustRegister(certificate{c.TLSProbe, a.Log})
	}
	return nil
}

// tellVersion shows what is running here, where that may be told.
func (a *App) tellVersion() {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pulsevault_build_info", Help: "The version that runs here; always 1.",
		ConstLabels: prometheus.Labels{"version": Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	a.Registry.MustRegister(build)
}

// handleMetrics answers for this process at /metrics, and for Redis, which nobody else asks, at /metrics/redis.
func (a *App) handleMetrics(mux *http.ServeMux) {
	redis := prometheus.NewRegistry()
	redis.MustRegister(redisdb.Info{Client: a.redis, Logger: a.Log})
	opts := promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: a.Registry}
	mux.Handle("/metrics", web.Methods{"GET": promhttp.HandlerFor(a.Registry, opts)})
	mux.Handle("/metrics/redis", web.Methods{"GET": promhttp.HandlerFor(redis, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})})
}

// ServeMonitoring answers GET /healthz, /readyz and /metrics through l until ctx ends, for a process that answers nothing else.
// l is not published, so that it tells the version too.
func (a *App) ServeMonitoring(ctx context.Context, l net.Listener) error {
	if a.config.AuthMode != AuthNone {
		a.tellVersion()
	}
	return ServeHandler(ctx, l, a.Handler(Health), a.Log)
}
