package redisqueue_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
)

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.World {
		return newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	})
}

func TestConformanceOnRedisServer(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.World { return newWorld(t, redistest.Start(t).Options()) })
}

func newWorld(t *testing.T, o redisdb.Options) queuetest.World {
	client := redistest.Client(t, o)
	q := redisqueue.New(client)
	sum := func(of func(queue.Stats) int) (n int) {
		var all []queue.Stats
		waitFor(t, "counted", func() bool { // a Redis that is slow for once is asked again
			var err error
			all, err = q.Stats(t.Context())
			return err == nil
		})
		for _, s := range all {
			n += of(s)
		}
		return n
	}
	return queuetest.World{
		Queue: q,
		Worker: func() queue.Worker {
			return redisqueue.Worker{
				Client: redistest.Client(t, o), Concurrency: 2, Logger: redistest.Logger(t),
				RetryDelay: func(int) time.Duration { return 0 },
			}
		},
		Put: func(payload string) {
			task := asynq.NewTask("transcode", []byte(payload))
			_, err := asynq.NewClientFromRedisClient(client).Enqueue(task, asynq.TaskID(uuid.NewString()), asynq.Queue(queue.TranscodeQueue))
			if err != nil {
				t.Fatal(err)
			}
		},
		Orphan: func() { orphan(t, o) },
		Later:  func() {},
		Dead:   func() int { return sum(func(s queue.Stats) int { return s.Archived }) },
		Left:   func() int { return sum(func(s queue.Stats) int { return s.Pending + s.Active + s.Retry }) },
	}
}
