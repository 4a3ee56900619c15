// Package redisqueue is the queue on Redis, by asynq.
//
// Workers take from the queue transcode before they take from pieces. Dead letters are asynq's archive.
//
// A worker holds a lease of 30 s on each task it works on and renews it every 5 s. When a worker dies, its tasks are
// taken over at the earliest 30 s after their leases have run out, because clocks differ, and workers look once when they
// start and then every minute: so after one to two minutes, or when the next worker starts, if that is a minute or more
// after the death. A takeover counts as a retry, so a video that kills its workers ends among the dead letters too; at
// the last one no handler is told, and Enqueue answers Dead for it from then on.
package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// names lists the queues in the order in which workers take from them.
func names() []string { return []string{queue.TranscodeQueue, queue.PiecesQueue} }

const (
	maxRetry = queue.MaxTries - 1
	// taskTimeout ends a task that hangs. asynq's own default of 30 minutes would end a long transcode.
	taskTimeout = 24 * time.Hour
	callTimeout = 2 * time.Second
)

// Queue is a queue.Queue. Its Stats are in the order in which workers take from the queues; one that was never used is
// empty.
type Queue struct {
	client    *redis.Client
	inspector *asynq.Inspector
}

// New returns the queues that live in a Redis.
func New(client *redis.Client) *Queue {
	return &Queue{client: client, inspector: asynq.NewInspectorFromRedisClient(client)}
}

// Enqueue queues a task unless it is already there.
func (q *Queue) Enqueue(ctx context.Context, t vault.Task) (queue.Outcome, error) {
	payload, err := queue.Encode(t)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range 3 { // a task that was there may be gone when we look at it
		// A client remembers which queues it has made known to Redis, and would not do it again after Redis was wiped:
		// so a fresh one each time.
		_, err := asynq.NewClientFromRedisClient(q.client).EnqueueContext(ctx, asynq.NewTask(string(t.Type), payload),
			asynq.TaskID(t.ID()), asynq.Queue(queue.Of(t)), asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout))
		if err == nil {
			return queue.Queued, nil
		}
		if !errors.Is(err, asynq.ErrTaskIDConflict) {
			return "", queue.Unavailable(fmt.Errorf("enqueue %s: %w", t.ID(), err))
		}
		info, err := q.State(ctx, t)
		if err != nil {
			return "", err
		}
		switch info.State {
		case queue.None:
		case queue.Archived:
			return queue.Dead, nil
		default:
			return queue.AlreadyQueued, nil
		}
	}
	return "", queue.Unavailable(fmt.Errorf("enqueue %s: it comes and goes", t.ID()))
}

// Info is what the queue knows about a task.
type Info struct {
	State     queue.State
	Retried   int // how often it has been tried again
	MaxRetry  int
	LastError string    // of the last try that failed
	FailedAt  time.Time // when the last try failed; zero if none has
	NextAt    time.Time // when it will be tried again, if its state is Retry
	Orphaned  bool      // active, but its worker is gone; it will be taken over
}

// State returns where a task stands.
func (q *Queue) State(ctx context.Context, t vault.Task) (Info, error) {
	task, err := within(ctx, func() (*asynq.TaskInfo, error) { return q.inspector.GetTaskInfo(queue.Of(t), t.ID()) })
	switch {
	case errors.Is(err, asynq.ErrQueueNotFound), errors.Is(err, asynq.ErrTaskNotFound):
		return Info{State: queue.None}, nil
	case err != nil:
		return Info{}, queue.Unavailable(fmt.Errorf("look at %s: %w", t.ID(), err))
	}
	return infoOf(task), nil
}

func infoOf(task *asynq.TaskInfo) Info {
	return Info{
		State:     queue.State(task.State.String()),
		Retried:   task.Retried,
		MaxRetry:  task.MaxRetry,
		LastError: task.LastErr,
		FailedAt:  task.LastFailedAt,
		NextAt:    task.NextProcessAt,
		Orphaned:  task.IsOrphaned,
	}
}

// within gives calls of the inspector, which take no context, the time that ctx leaves. One that takes longer ends by
// the client's own timeouts.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
