package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"pulsevault/pkg/vault"
)

// Handler does the work of a task. Final says that the task is not tried again if this fails; an error of the kind
// vault.Unprocessable is final in any case. When ctx ends, the handler gives back what it has claimed and returns.
type Handler func(ctx context.Context, t vault.Task, final bool) error

// ErrStopping is the cause for which a handler's context ends when the worker stops: the task goes back to its queue
// and is not counted as tried.
var ErrStopping = errors.New("queue: the worker stops")

// Call has the task done. A panic counts as a failure.
func (h Handler) Call(ctx context.Context, log *slog.Logger, t vault.Task, final bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("handler panicked", "task", t.ID(), "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("queue: handler panicked: %v", p)
		}
	}()
	return h(ctx, t, final)
}
