package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

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

// Stats returns how much there is in each queue, in the order of Names. A queue that was never used is empty.
func (q *Queue) Stats(ctx context.Context) ([]Stats, error) {
	return within(ctx, func() ([]Stats, error) {
		used, err := q.inspector.Queues()
		if err != nil {
			return nil, unavailable(fmt.Errorf("list queues: %w", err))
		}
		var all []Stats
		for _, name := range Names() {
			if !slices.Contains(used, name) {
				all = append(all, Stats{Queue: name})
				continue
			}
			info, err := q.inspector.GetQueueInfo(name)
			if err != nil {
				return nil, unavailable(fmt.Errorf("count %s: %w", name, err))
			}
			all = append(all, Stats{
				Queue:    name,
				Pending:  info.Pending,
				Active:   info.Active,
				Retry:    info.Retry,
				Archived: info.Archived,
				Oldest:   max(info.Latency, 0),
			})
		}
		return all, nil
	})
}

type collector struct {
	queue  *Queue
	log    *slog.Logger
	tasks  *prometheus.Desc
	oldest *prometheus.Desc
}

const scrapeTimeout = time.Second

// NewCollector shows the queues to Prometheus. While Redis cannot be reached its series are missing; the scrape goes on.
func NewCollector(q *Queue, log *slog.Logger) prometheus.Collector {
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
			ch <- prometheus.MustNewConstMetric(c.tasks, prometheus.GaugeValue, float64(n), s.Queue, string(state))
		}
		ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, s.Oldest.Seconds(), s.Queue)
	}
}
