// Package queue carries tasks to workers: asynq on Redis.
//
// A task is queued under its own id, so queueing it twice is harmless. Workers take from the queue transcode before they
// take from pieces. A task that fails is tried again after growing delays; one that cannot succeed, or has failed too
// often, goes into the archive: the dead letters.
//
// A worker holds a lease of 30 s on each task it works on and renews it every 5 s. When a worker dies, its tasks are
// taken over at the earliest 30 s after their leases have run out, because clocks differ, and workers look once when they
// start and then every minute: so after one to two minutes, or when the next worker starts, if that is a minute or more
// after the death. A takeover counts as a retry, so a video that kills its workers ends among the dead letters too; at
// the last one no handler is told, and Enqueue answers Dead for it from then on. A worker that stops in order gives its
// tasks back at once, and that counts as nothing.
//
// Redis is not the truth about what wants work: after it was wiped, the sweep queues everything again.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/vault"
)

// The queues, in the order in which workers take from them.
const (
	TranscodeQueue = "transcode"
	PiecesQueue    = "pieces"
)

// Names lists the queues in the order in which workers take from them.
func Names() []string { return []string{TranscodeQueue, PiecesQueue} }

const (
	maxRetry = 5
	// taskTimeout ends a task that hangs. asynq's own default of 30 minutes would end a long transcode.
	taskTimeout = 24 * time.Hour
	callTimeout = 2 * time.Second
)

// Outcome says what became of a task that was to be queued.
type Outcome string

// The outcomes.
const (
	Queued        Outcome = "queued"         // it was not there and is now
	AlreadyQueued Outcome = "already_queued" // it waits, runs or will be tried again
	Dead          Outcome = "dead"           // it is among the dead letters and stays there
)

// Queue is the side of those who want work done.
type Queue struct {
	client    *redis.Client
	inspector *asynq.Inspector
}

// New returns the queues that live in a Redis.
func New(client *redis.Client) *Queue {
	return &Queue{client: client, inspector: asynq.NewInspectorFromRedisClient(client)}
}

// Enqueue queues a task unless it is already there.
func (q *Queue) Enqueue(ctx context.Context, t vault.Task) (Outcome, error) {
	if err := t.Validate(); err != nil {
		return "", fmt.Errorf("queue: enqueue: %w", err)
	}
	payload, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("queue: enqueue: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range 3 { // a task that was there may be gone when we look at it
		// A client remembers which queues it has made known to Redis, and would not do it again after Redis was wiped:
		// so a fresh one each time.
		_, err := asynq.NewClientFromRedisClient(q.client).EnqueueContext(ctx, asynq.NewTask(string(t.Type), payload),
			asynq.TaskID(t.ID()), asynq.Queue(queueOf(t)), asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout))
		if err == nil {
			return Queued, nil
		}
		if !errors.Is(err, asynq.ErrTaskIDConflict) {
			return "", unavailable(fmt.Errorf("enqueue %s: %w", t.ID(), err))
		}
		info, err := q.State(ctx, t)
		if err != nil {
			return "", err
		}
		switch info.State {
		case None:
		case Archived:
			return Dead, nil
		default:
			return AlreadyQueued, nil
		}
	}
	return "", unavailable(fmt.Errorf("enqueue %s: it comes and goes", t.ID()))
}

func queueOf(vault.Task) string { return TranscodeQueue }

// State is where a task stands.
type State string

// The states of a task.
const (
	None     State = "none" // not there: done, or never queued
	Pending  State = "pending"
	Active   State = "active"
	Retry    State = "retry" // failed, will be tried again
	Archived State = "archived"
)

// Info is what the queue knows about a task.
type Info struct {
	State     State
	Retried   int // how often it has been tried again
	MaxRetry  int
	LastError string    // of the last try that failed
	NextAt    time.Time // when it will be tried again, if its state is Retry
	Orphaned  bool      // active, but its worker is gone; it will be taken over
}

// State returns where a task stands.
func (q *Queue) State(ctx context.Context, t vault.Task) (Info, error) {
	task, err := within(ctx, func() (*asynq.TaskInfo, error) { return q.inspector.GetTaskInfo(queueOf(t), t.ID()) })
	switch {
	case errors.Is(err, asynq.ErrQueueNotFound), errors.Is(err, asynq.ErrTaskNotFound):
		return Info{State: None}, nil
	case err != nil:
		return Info{}, unavailable(fmt.Errorf("look at %s: %w", t.ID(), err))
	}
	return Info{
		State:     State(task.State.String()),
		Retried:   task.Retried,
		MaxRetry:  task.MaxRetry,
		LastError: task.LastErr,
		NextAt:    task.NextProcessAt,
		Orphaned:  task.IsOrphaned,
	}, nil
}

func unavailable(err error) error {
	return vault.Errorf(vault.Unavailable, "queue_unavailable", "work cannot be queued at the moment; try again").
		Because(fmt.Errorf("queue: %w", err))
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
