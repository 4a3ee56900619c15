package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/queue"
)

// errHere ends a second run of a task beside the first in the same process: Redis was wiped and the task queued again.
var errHere = errors.New("queue: the task is already running here")

const (
	checkEvery   = 50 * time.Millisecond
	checkDelayed = time.Second
	hereRetry    = 10 * time.Second
	// abortAfter is how long asynq waits before it puts running tasks back. Those that have just succeeded must be
	// through by then.
	abortAfter = 100 * time.Millisecond
	// answerTimeout is long, as nobody waits for a worker: a task whose taking is given up before the answer is there may have
	// been handed out all the same, and then lies until its lease has run out.
	answerTimeout = 3 * time.Second
)

// DefaultPatience is how long a worker takes at most to end, if nothing else is said. Whoever ends it must not kill it before.
const DefaultPatience = 30 * time.Second

// Worker is a queue.Worker.
type Worker struct {
	Client      *redis.Client                 // where the queues are; its address and password are taken from it
	Concurrency int                           // tasks at a time; 0 means 1
	Patience    time.Duration                 // how long Run waits for handlers when it stops; 0 means DefaultPatience
	RetryDelay  func(tried int) time.Duration // nil means queue.RetryDelay
	Logger      *slog.Logger
}

// Run works until ctx ends. Then it takes no more tasks, ends the contexts of the handlers, waits for them, and puts the
// tasks they did not finish back into their queues, first in line. While Redis is away Run waits for it.
//
// asynq counts a task whose context ends as failed. So the handlers' contexts are our own, and a handler that stopped
// early is kept from returning to asynq until that has put its task back.
func (w Worker) Run(ctx context.Context, h queue.Handler) error {
	client := w.patientClient()
	defer func() { _ = client.Close() }()
	s := newShift(ctx, h, w.Logger)
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency:              max(w.Concurrency, 1),
		Queues:                   priorities(),
		StrictPriority:           true,
		TaskCheckInterval:        checkEvery,
		DelayedTaskCheckInterval: checkDelayed,
		RetryDelayFunc:           w.retryDelay,
		IsFailure:                func(err error) bool { return err != nil && !errors.Is(err, errHere) },
		ShutdownTimeout:          abortAfter,
		Logger:                   asynqLog{w.Logger},
		LogLevel:                 asynq.InfoLevel,
	})
	if err := server.Start(asynq.HandlerFunc(s.process)); err != nil {
		return fmt.Errorf("queue: start worker: %w", err)
	}
	<-ctx.Done()
	s.close() // before Stop, which waits for a task that is just being taken
	server.Stop()
	if left := s.wait(w.patience()); left > 0 {
		w.Logger.Error("handlers do not stop; their tasks go back to the queue all the same", "handlers", left)
	}
	server.Shutdown()
	s.release()
	return nil
}

// patientClient makes asynq's own client. asynq asks again at once when Redis does not answer: the pause before the second
// try keeps that from taking a whole CPU.
func (w Worker) patientClient() *redis.Client {
	opts := *w.Client.Options()
	opts.ReadTimeout = answerTimeout
	opts.MaxRetries = 1
	opts.MinRetryBackoff = 300 * time.Millisecond
	opts.MaxRetryBackoff = 500 * time.Millisecond
	opts.PoolSize = max(w.Concurrency, 1) + 8
	opts.MaxConcurrentDials = 0
	return redis.NewClient(&opts)
}

func priorities() map[string]int {
	p := make(map[string]int)
	for i, name := range names() {
		p[name] = len(names()) - i
	}
	return p
}

func (w Worker) patience() time.Duration {
	if w.Patience > 0 {
		return w.Patience
	}
	return DefaultPatience
}

func (w Worker) retryDelay(tried int, err error, _ *asynq.Task) time.Duration {
	switch {
	case errors.Is(err, asynq.ErrLeaseExpired): // its worker is dead: nothing gets better by waiting
		return 0
	case errors.Is(err, errHere):
		return hereRetry
	case w.RetryDelay != nil:
		return w.RetryDelay(tried)
	}
	return queue.RetryDelay(tried)
}
