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
		pieces := s.Add("pulsevault-pieces", sqstest.DefaultMaxReceives)
		o := sqsqueue.Options{URL: s.QueueURL(), PiecesURL: pieces.URL()}
		return queuetest.World{
			Queue:  sqsqueue.New(s.Client(), o, s.Now),
			Worker: func() queue.Worker { return worker(s, sqsqueue.New(s.Client(), o, s.Now)) },
			Put:    s.Put,
			Orphan: func() {
				if len(pieces.Bodies()) > 0 {
					pieces.Take(t.Context(), 30*time.Second)
				} else {
					s.Take(t.Context(), 30*time.Second)
				}
				s.Advance(31 * time.Second)
			},
			Later: func() { s.Advance(10 * time.Minute) },
			Dead:  func() int { return len(s.DeadLetters()) + len(pieces.DeadLetters()) },
			Left:  func() int { return len(s.Bodies()) + len(pieces.Bodies()) },
		}
	})
}
