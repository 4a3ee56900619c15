package sqsqueue_test

import (
	"testing"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
)

func worker(s *sqstest.Server, q *sqsqueue.Queue) sqsqueue.Worker {
	return sqsqueue.Worker{
		Queue: q, Concurrency: 2, Logger: s.Logger(), RetryDelay: func(int) time.Duration { return 0 },
	}
}

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.World {
		s := sqstest.Start(t)
		q := sqsqueue.New(s.Client(), s.QueueURL(), s.Now)
		return queuetest.World{
			Queue:  q,
			Worker: func() queue.Worker { return worker(s, sqsqueue.New(s.Client(), s.QueueURL(), s.Now)) },
			Put:    s.Put,
			Orphan: func() {
				s.Take(t.Context(), 30*time.Second)
				s.Advance(31 * time.Second)
			},
			Later: func() { s.Advance(10 * time.Minute) },
			Dead:  func() int { return len(s.DeadLetters()) },
			Left:  func() int { return len(s.Bodies()) },
		}
	})
}
