package redisqueue

import (
	"context"
	"fmt"
	"slices"

	"pulsevault/pkg/queue"
)

// Stats returns how much there is in each queue, in the order of names. A queue that was never used is empty.
func (q *Queue) Stats(ctx context.Context) ([]queue.Stats, error) {
	return within(ctx, func() ([]queue.Stats, error) {
		used, err := q.inspector.Queues()
		if err != nil {
			return nil, queue.Unavailable(fmt.Errorf("list queues: %w", err))
		}
		var all []queue.Stats
		for _, name := range names() {
			if !slices.Contains(used, name) {
				all = append(all, queue.Stats{Queue: name})
				continue
			}
			info, err := q.inspector.GetQueueInfo(name)
			if err != nil {
				return nil, queue.Unavailable(fmt.Errorf("count %s: %w", name, err))
			}
			all = append(all, queue.Stats{
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
