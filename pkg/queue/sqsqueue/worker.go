package sqsqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

const (
	defaultPatience = 30 * time.Second
	defaultLease    = 30 * time.Second
	// taskTimeout ends a task that hangs. SQS lets nobody keep a message for more than twelve hours.
	taskTimeout = 11*time.Hour + 30*time.Minute
	// pauseAfterError is how long a worker waits after SQS has not answered.
	pauseAfterError = 2 * time.Second
)

// Worker is a queue.Worker.
type Worker struct {
	Queue       *Queue
	Concurrency int                           // tasks at a time; 0 means 1
	Patience    time.Duration                 // how long Run waits for handlers when it stops; 0 means 30 s
	RetryDelay  func(tried int) time.Duration // in whole seconds; nil means queue.RetryDelay
	Lease       time.Duration                 // how long a task is a worker's, unless renewed; whole seconds; 0 means 30 s
	// Abandon is told of a task that was tried as often as it may be, and whose handler did not say that it cannot succeed:
	// its workers died, or could not record it. Without an error the task is dead.
	Abandon func(ctx context.Context, t vault.Task) error
	Logger  *slog.Logger
}

// shift is one Run of a Worker.
type shift struct {
	Worker
	policies map[*lane]policy
	handler  queue.Handler
	stop     context.Context // ends when the worker stops
	late     context.Context // ends when handlers should long have stopped
}

// Run works until ctx ends. While SQS is away Run waits for it; where there is no such queue it says so.
func (w Worker) Run(ctx context.Context, h queue.Handler) error {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.patience(), cancel) })()
	s := &shift{Worker: w, policies: make(map[*lane]policy), handler: h, stop: ctx, late: late}
	for _, l := range w.Queue.lanes {
		p, err := w.waitForPolicy(ctx, l)
		if err != nil || ctx.Err() != nil {
			return err
		}
		p.warn(l.url, w.Logger)
		s.policies[l] = p
	}
	var hands sync.WaitGroup
	for range max(w.Concurrency, 1) {
		hands.Go(func() {
			for wait := pollFor; ctx.Err() == nil; {
				wait = s.next(wait)
			}
		})
	}
	hands.Wait()
	return nil
}

// waitForPolicy asks for the policy of a queue until SQS answers or ctx ends.
func (w Worker) waitForPolicy(ctx context.Context, l *lane) (policy, error) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, settleTimeout)
		p, err := l.lookUpPolicy(call)
		cancel()
		if err == nil {
			return p, nil
		}
		if missing := new(types.QueueDoesNotExist); errors.As(err, &missing) {
			return p, fmt.Errorf("queue: there is no queue %s, or not its dead-letter queue: create it, or set SQS_QUEUE_URL or SQS_PIECES_QUEUE_URL: %w", l.url, err)
		}
		if ctx.Err() == nil {
			w.Logger.Warn("SQS does not answer; trying again", "err", err)
			sleep(ctx, pauseAfterError)
		}
	}
	return policy{}, nil
}

// next looks for a message, and sees to it. It returns how long the next look is to wait where the first tasks are: not at
// all while there are others to go on with.
func (s *shift) next(wait time.Duration) time.Duration {
	m, err := s.take(wait)
	if err != nil && s.stop.Err() == nil {
		s.Logger.Warn("no task can be taken from SQS; trying again", "err", err)
		sleep(s.stop, pauseAfterError)
	}
	if m == nil {
		return pollFor
	}
	s.handle(m)
	if m.from == s.Queue.lanes[0] {
		return wait
	}
	return 0
}

// take takes a message from the first queue that has one.
func (s *shift) take(wait time.Duration) (*message, error) {
	for _, l := range s.Queue.lanes {
		m, err := s.receive(l, wait)
		if m != nil || err != nil || s.stop.Err() != nil {
			return m, err
		}
		wait = 0
	}
	return nil, nil
}

func (s *shift) handle(m *message) {
	task, err := queue.Decode([]byte(m.body))
	log := s.Logger.With("task", task.ID(), "message", m.id)
	switch {
	case err != nil:
		log.Error("task cannot be understood and is put among the dead letters", "err", err)
		s.bury(m)
	case s.stop.Err() != nil: // taken while we were stopping
		s.giveBack(m)
	case m.tried >= s.policies[m.from].tries:
		s.abandon(m, task, log)
	default:
		s.perform(m, task, log)
	}
}

func (s *shift) perform(m *message, t vault.Task, log *slog.Logger) {
	final := m.tried == s.policies[m.from].tries-1
	ctx, release := s.hold(m)
	err := s.call(ctx, t, final)
	held := release()
	switch {
	case !held:
		log.Warn("the task became somebody else's while it was worked on", "err", err)
	case err == nil:
		s.remove(m)
	case s.stop.Err() != nil:
		log.Info("task goes back to the queue: the worker stops", "err", err)
		s.giveBack(m)
	case vault.KindOf(err) == vault.Unprocessable:
		log.Error("task cannot succeed and is put among the dead letters", "err", err)
		s.bury(m)
	default:
		log.Warn("task has failed and comes back", "tried", m.tried+1, "final", final, "err", err)
		s.putOff(m)
	}
}

// call has the task done. A handler that does not stop is left behind.
func (s *shift) call(ctx context.Context, t vault.Task, final bool) error {
	done := make(chan error, 1)
	go func() { done <- s.handler.Call(ctx, s.Logger, t, final) }()
	select {
	case err := <-done:
		return err
	case <-s.late.Done():
		s.Logger.Error("a handler does not stop; its task goes back to the queue all the same", "task", t.ID())
		return queue.ErrStopping
	}
}

func (s *shift) abandon(m *message, t vault.Task, log *slog.Logger) {
	if s.Abandon != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.stop), s.lease())
		defer cancel()
		if err := s.Abandon(ctx, t); err != nil {
			log.Error("task was tried too often, and that cannot be recorded; trying again", "err", err)
			s.putOff(m)
			return
		}
	}
	log.Error("task was tried too often and is put among the dead letters")
	s.bury(m)
}

func (w Worker) patience() time.Duration {
	if w.Patience > 0 {
		return w.Patience
	}
	return defaultPatience
}

func (w Worker) lease() time.Duration {
	if w.Lease > 0 {
		return w.Lease
	}
	return defaultLease
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
