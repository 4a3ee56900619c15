package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Unknown is a count, or a time, that a kind of queue cannot tell. It is not shown.
const Unknown = -1

// Stats say how much there is in a queue.
type Stats struct {
	Queue    string
	Pending  int
	Active   int
	Retry    int
	Archived int
	// Oldest is how long the next task to be taken has been waiting. One that was given back by a worker counts as 0.
	Oldest time.Duration
}

type collector struct {
	queue  Queue
	log    *slog.Logger
	tasks  *prometheus.Desc
	oldest *prometheus.Desc
}

const scrapeTimeout = time.Second

// NewCollector shows a queue to Prometheus. While it cannot be reached its series are missing; the scrape goes on.
func NewCollector(q Queue, log *slog.Logger) prometheus.Collector {
	return &collector{
		queue: q,
		log:   log,
		tasks: prometheus.NewDesc("pulsevault_queue_tasks",
			"Tasks in a queue by state: pending, active, retry, archived.", []string{"queue", "state"}, nil),
		oldest: prometheus.NewDesc("pulsevault_queue_oldest_seconds",
			"How long the next task of a queue has been waiting.", []string{"queue"}, nil),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.tasks
	ch <- c.oldest
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := c.queue.Stats(ctx)
	if err != nil {
		c.log.Debug("queues are missing from a scrape", "err", err)
		return
	}
	for _, s := range all {
		for state, n := range map[State]int{Pending: s.Pending, Active: s.Active, Retry: s.Retry, Archived: s.Archived} {
			if n != Unknown {
				ch <- prometheus.MustNewConstMetric(c.tasks, prometheus.GaugeValue, float64(n), s.Queue, string(state))
			}
		}
		if s.Oldest != Unknown {
			ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, s.Oldest.Seconds(), s.Queue)
		}
	}
}
