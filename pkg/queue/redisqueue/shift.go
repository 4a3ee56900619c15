package redisqueue

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// shift is one Run of a Worker: it stands between asynq and the handler.
type shift struct {
	ctx     context.Context // ends when the worker stops
	handler queue.Handler
	log     *slog.Logger

	mu      sync.Mutex
	closed  bool
	running map[string]bool // by task id

	idle     chan struct{} // closed when the shift is closed and nothing runs
	released chan struct{} // closed when asynq has put the unfinished tasks back
}

func newShift(ctx context.Context, h queue.Handler, log *slog.Logger) *shift {
	return &shift{
		ctx: ctx, handler: h, log: log,
		running: make(map[string]bool), idle: make(chan struct{}), released: make(chan struct{}),
	}
}

// process is asynq's handler.
func (s *shift) process(ctx context.Context, at *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	switch here, closed := s.begin(id); {
	case closed: // taken while we were stopping
		return s.park()
	case here:
		return errHere
	}
	err := s.work(ctx, id, at.Payload())
	s.end(id)
	if err != nil && s.ctx.Err() != nil {
		s.log.Info("task goes back to the queue: the worker stops", "task", id, "err", err)
		return s.park()
	}
	return err
}

func (s *shift) work(ctx context.Context, id string, payload []byte) error {
	t, err := queue.Decode(payload)
	if err != nil {
		s.log.Error("task cannot be understood and is put among the dead letters", "task", id, "err", err)
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	tried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	final := tried >= limit

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(queue.ErrStopping) })()
	err = s.handler.Call(ctx, s.log, t, final)
	switch {
	case err == nil || s.ctx.Err() != nil:
		return err
	case vault.KindOf(err) == vault.Unprocessable:
		s.log.Error("task cannot succeed and is put among the dead letters", "task", id, "err", err)
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	case final:
		s.log.Error("task has failed too often and is put among the dead letters", "task", id, "err", err)
	default:
		s.log.Warn("task has failed and will be tried again", "task", id, "tried", tried, "err", err)
	}
	return err
}

// begin says whether the task already runs here, or the shift is closed. If neither, the task runs until end.
func (s *shift) begin(id string) (here, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.running[id] {
		return s.running[id], s.closed
	}
	s.running[id] = true
	return false, false
}

func (s *shift) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
	s.noteIdle()
}

// close lets no further task begin.
func (s *shift) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.noteIdle()
}

func (s *shift) noteIdle() {
	if s.closed && len(s.running) == 0 {
		close(s.idle)
	}
}

// wait waits until no handler runs, and returns how many still do after a time.
func (s *shift) wait(limit time.Duration) int {
	select {
	case <-s.idle:
		return 0
	case <-time.After(limit):
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.running)
	}
}

// park keeps a task from returning to asynq, which would count it as failed, until it has been put back.
func (s *shift) park() error {
	<-s.released
	return queue.ErrStopping
}

func (s *shift) release() { close(s.released) }
