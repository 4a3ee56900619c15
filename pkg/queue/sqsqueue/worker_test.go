package sqsqueue_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/vault"
)

func TestALeaseIsRenewedWhileATaskRuns(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	w := worker(s, q)
	w.Lease = 3 * time.Second
	s.Fail("ChangeMessageVisibility", 1, false) // one renewal more or less is no matter
	var runs atomic.Int32
	start(t, w, func(ctx context.Context, _ vault.Task, _ bool) error {
		runs.Add(1)
		for s.Calls("ChangeMessageVisibility") < 4 && ctx.Err() == nil { // a second apart: for longer than the lease
			time.Sleep(20 * time.Millisecond)
		}
		return ctx.Err()
	})
	waitFor(t, "done", func() bool { return len(s.Bodies()) == 0 })
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// Whoever has lost its lease is told to stop, and keeps its hands off the message.
func TestALostLeaseEndsTheWork(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	s.Allow("InvalidParameterValue") // of the renewal
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	w := worker(s, q)
	w.Lease, w.Concurrency = 3*time.Second, 1
	var runs atomic.Int32
	start(t, w, func(ctx context.Context, _ vault.Task, _ bool) error {
		if runs.Add(1) > 1 {
			return nil
		}
		s.Advance(4 * time.Second) // the machine slept
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), queue.ErrStopping) {
			t.Error("the worker stops")
		}
		return nil
	})
	waitFor(t, "done by the next", func() bool { return runs.Load() == 2 && len(s.Bodies()) == 0 })
	if n := s.Calls("DeleteMessage"); n != 1 {
		t.Errorf("deleted %d times", n)
	}
}

// A failed task waits longer and longer. Nobody gets past it meanwhile.
func TestRetriesAreDelayed(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	w := worker(s, q)
	w.RetryDelay = nil
	var runs atomic.Int32
	start(t, w, func(context.Context, vault.Task, bool) error {
		runs.Add(1)
		return errors.New("the disk is on fire")
	})
	for n, least := range []time.Duration{10 * time.Second, time.Minute, 6 * time.Minute} {
		waitFor(t, "put off", func() bool { return s.Calls("ChangeMessageVisibility") == n+1 })
		s.Advance(least - 3*time.Second)
		time.Sleep(100 * time.Millisecond)
		if got := runs.Load(); got != int32(n+1) {
			t.Errorf("%d runs after %v", got, least)
		}
		s.Advance(3*time.Second + least/4)
	}
}

// A task that kills its workers, or whose failure cannot be recorded, ends all the same.
func TestATaskThatWasTriedTooOftenIsAbandoned(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	task := queuetest.NewTask()
	enqueue(t, q, task, queue.Queued)
	for range queue.MaxTries {
		s.Take(t.Context(), 30*time.Second)
		s.Advance(31 * time.Second)
	}
	var told atomic.Int32
	w := worker(s, q)
	w.Abandon = func(_ context.Context, got vault.Task) error {
		if got != task {
			t.Errorf("abandoned is %+v", got)
		}
		if told.Add(1) == 1 {
			return errors.New("the disk is on fire")
		}
		return nil
	}
	start(t, w, func(context.Context, vault.Task, bool) error {
		t.Error("it is tried again")
		return nil
	})
	waitFor(t, "dead", func() bool { return len(s.DeadLetters()) == 1 && len(s.Bodies()) == 0 })
	if n := told.Load(); n != 2 {
		t.Errorf("told %d times", n)
	}
}

// The redrive policy may leave fewer tries; then the last receive is still for abandoning the task.
func TestTheRedrivePolicyCounts(t *testing.T) {
	t.Parallel()
	for receives, tries := range map[int]int32{1: 1, 2: 1, 4: 3, 5: 4, 100: 4, 0: 4} {
		t.Run(strconv.Itoa(receives), func(t *testing.T) {
			t.Parallel()
			s, q := world(t)
			s.SetMaxReceives(receives)
			enqueue(t, q, queuetest.NewTask(), queue.Queued)
			var runs atomic.Int32
			start(t, worker(s, q), func(_ context.Context, _ vault.Task, final bool) error {
				if n := runs.Add(1); final != (n == tries) {
					t.Errorf("try %d, final %v", n, final)
				}
				return errors.New("the disk is on fire")
			})
			waitFor(t, "dead", func() bool { return len(s.Bodies()) == 0 })
			if n := runs.Load(); n != tries {
				t.Errorf("%d tries, want %d", n, tries)
			}
			if dead := len(s.DeadLetters()); (dead == 1) != (receives > 0) {
				t.Errorf("%d dead letters", dead)
			}
		})
	}
}
