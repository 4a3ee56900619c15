package sqsqueue

import (
	"context"
	"errors"
	"time"

	"github.com/aws/smithy-go"

	"pulsevault/pkg/queue"
)

// errLost is the cause for which a handler's context ends when its task may have become somebody else's.
var errLost = errors.New("queue: the lease on the task is lost")

// hold keeps a message hidden until release is called, which reports whether that could be done. The context is the
// handler's: it ends when the worker stops, when the message may be somebody else's, or when the task takes too long.
func (s *shift) hold(m *message) (ctx context.Context, release func() (held bool)) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(s.stop))
	ctx, cancelTimeout := context.WithTimeout(ctx, taskTimeout)
	stopping := context.AfterFunc(s.stop, func() { cancel(queue.ErrStopping) })
	beat, stopBeat := context.WithCancel(context.WithoutCancel(s.stop)) // goes on while the handler cleans up
	ended := make(chan error, 1)
	go func() {
		err := s.renew(beat, m)
		if err != nil {
			cancel(err)
		}
		ended <- err
	}()
	return ctx, func() bool {
		defer cancelTimeout()
		defer stopping()
		stopBeat()
		return <-ended == nil
	}
}

// renew renews the lease until ctx ends. It fails when the lease is lost.
func (s *shift) renew(ctx context.Context, m *message) error {
	every := s.lease() / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		begun := time.Now()
		call, cancel := context.WithTimeout(ctx, every)
		err := m.from.hide(call, m.receipt, s.lease())
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			renewed = begun
		case notOurs(err) || time.Since(renewed) >= s.lease():
			return errLost
		default:
			s.Logger.Warn("lease not renewed; trying again", "message", m.id, "err", err)
		}
	}
}

// notOurs reports whether SQS says that a receipt is no longer good.
func notOurs(err error) bool {
	var known smithy.APIError
	if !errors.As(err, &known) {
		return false
	}
	switch known.ErrorCode() {
	case "InvalidParameterValue", "ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight":
		return true
	}
	return false
}
