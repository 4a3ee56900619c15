package redisqueue_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

// patience is how long a test waits for what must happen; nothing here is measured by it.
const patience = time.Minute

func newTask() vault.Task { return vault.Task{Type: vault.TranscodeVideo, VideoID: vault.NewVideoID()} }

func enqueue(t *testing.T, q *redisqueue.Queue, task vault.Task, want queue.Outcome) {
	t.Helper()
	if got, err := q.Enqueue(t.Context(), task); err != nil || got != want {
		t.Fatalf("enqueue: %q, %v; want %q", got, err, want)
	}
}

// start runs a worker until stop is called or the test ends. Failed tasks are tried again at once.
func start(t *testing.T, o redisdb.Options, h queue.Handler) (stop func()) {
	t.Helper()
	return startOn(t, redistest.Client(t, o), h)
}

func startOn(t *testing.T, client *redis.Client, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := redisqueue.Worker{
		Client: client, Concurrency: 2, Logger: redistest.Logger(t),
		RetryDelay: func(int) time.Duration { return 0 },
	}
	go func() { done <- w.Run(ctx, h) }()
	var stopped atomic.Bool
	stop = func() {
		t.Helper()
		if stopped.Swap(true) {
			return
		}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the worker does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

func state(t *testing.T, q *redisqueue.Queue, task vault.Task) redisqueue.Info {
	t.Helper()
	var info redisqueue.Info
	waitFor(t, "told", func() bool { // a Redis that is slow for once is asked again
		var err error
		info, err = q.State(t.Context(), task)
		return err == nil
	})
	return info
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

func TestAFailingTaskIsTriedAgainAndThenDead(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		q, task := redisqueue.New(redistest.Client(t, o)), newTask()
		enqueue(t, q, task, queue.Queued)
		var runs atomic.Int32
		start(t, o, func(_ context.Context, _ vault.Task, final bool) error {
			n := runs.Add(1)
			if final != (n == queue.MaxTries) {
				t.Errorf("run %d, final %v", n, final)
			}
			if n == 2 {
				panic("at the second try")
			}
			return errors.New("the disk is on fire")
		})
		waitFor(t, "dead", func() bool { return state(t, q, task).State == queue.Archived })
		if info := state(t, q, task); runs.Load() != queue.MaxTries || info.Retried != queue.MaxTries-1 || !strings.Contains(info.LastError, "on fire") {
			t.Errorf("after %d runs: %+v", runs.Load(), info)
		}
		enqueue(t, q, task, queue.Dead)
	})
}

func TestATaskThatCannotSucceedIsDeadAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		client := redistest.Client(t, o)
		q, hopeless, good := redisqueue.New(client), newTask(), newTask()
		raw := asynq.NewClientFromRedisClient(client)
		for id, payload := range map[string]string{"no json": "{", "no such type": `{"type":"x","videoId":"y"}`, "empty": ""} {
			if _, err := raw.Enqueue(asynq.NewTask("transcode", []byte(payload)), asynq.TaskID(id), asynq.Queue(queue.TranscodeQueue)); err != nil {
				t.Fatal(err)
			}
		}
		enqueue(t, q, hopeless, queue.Queued)
		enqueue(t, q, good, queue.Queued)
		var runs atomic.Int32
		start(t, o, func(_ context.Context, task vault.Task, _ bool) error {
			runs.Add(1)
			if task == hopeless {
				return vault.Errorf(vault.Unprocessable, "no_video", "there is no video in it")
			}
			return nil
		})
		waitFor(t, "four dead", func() bool {
			s, err := q.Stats(t.Context())
			return err == nil && s[0].Archived == 4 && s[0].Pending+s[0].Active+s[0].Retry == 0
		})
		if info := state(t, q, hopeless); runs.Load() != 2 || info.State != queue.Archived || info.Retried != 0 {
			t.Errorf("after %d runs: %+v", runs.Load(), info)
		}
	})
}

func TestStoppingGivesTasksBackUncounted(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		q := redisqueue.New(redistest.Client(t, o))
		short, long, waiting := newTask(), newTask(), newTask()
		for _, task := range []vault.Task{short, long, waiting} {
			enqueue(t, q, task, queue.Queued)
		}
		var running, cleaned atomic.Int32
		stop := start(t, o, func(ctx context.Context, task vault.Task, _ bool) error {
			running.Add(1)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), queue.ErrStopping) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			time.Sleep(200 * time.Millisecond) // ends ffmpeg, gives the video back
			cleaned.Add(1)
			if task == short {
				return nil // it was just through
			}
			return ctx.Err()
		})
		waitFor(t, "two running", func() bool { return running.Load() == 2 })
		stop()
		if cleaned.Load() != 2 || running.Load() != 2 {
			t.Errorf("%d handlers ran, %d cleaned up", running.Load(), cleaned.Load())
		}
		for name, task := range map[string]vault.Task{"running": long, "waiting": waiting} {
			if info := state(t, q, task); info.State != queue.Pending || info.Retried != 0 || info.LastError != "" {
				t.Errorf("%s: %+v", name, info)
			}
		}
		if info := state(t, q, short); info.State != queue.None {
			t.Errorf("a task that was done is queued again: %+v", info)
		}
		first := make(chan vault.Task, 2)
		start(t, o, func(_ context.Context, task vault.Task, _ bool) error { first <- task; return nil })
		got := []vault.Task{<-first, <-first}
		if got[0] != long && got[1] != long {
			t.Errorf("the next worker got %v", got)
		}
		if s, err := q.Stats(t.Context()); err != nil || s[0].Retry != 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
	})
}

func TestAWipedRedisIsFilledAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		client := redistest.Client(t, o)
		q, task := redisqueue.New(client), newTask()
		enqueue(t, q, task, queue.Queued)
		begun, finish := make(chan struct{}, 9), make(chan struct{})
		var atOnce atomic.Int32
		start(t, o, func(context.Context, vault.Task, bool) error {
			if n := atOnce.Add(1); n > 1 {
				t.Errorf("the task runs %d times at once", n)
			}
			defer atOnce.Add(-1)
			begun <- struct{}{}
			<-finish
			return nil
		})
		<-begun
		client.FlushAll(t.Context())
		enqueue(t, q, task, queue.Queued) // as the sweep does
		waitFor(t, "put off", func() bool { return state(t, q, task).State == queue.Retry })
		if s, err := q.Stats(t.Context()); err != nil || s[0].Retry != 1 || state(t, q, task).Retried != 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
		close(finish)
	})
}

func TestQueuesAreShownFromTheStart(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		q := redisqueue.New(redistest.Client(t, o))
		c := queue.NewCollector(q, redistest.Logger(t))
		if n := testutil.CollectAndCount(c); n != 10 {
			t.Errorf("%d series, want four states and an age for two queues", n)
		}
		enqueue(t, q, newTask(), queue.Queued)
		enqueue(t, q, newTask(), queue.Queued)
		time.Sleep(20 * time.Millisecond)
		s, err := q.Stats(t.Context())
		if err != nil || len(s) != 2 || s[0].Queue != "transcode" || s[0].Pending != 2 || s[0].Oldest < 20*time.Millisecond || s[1].Pending != 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
		want := `
# HELP pulsevault_queue_tasks Tasks in a queue by state: pending, active, retry, archived.
# TYPE pulsevault_queue_tasks gauge
pulsevault_queue_tasks{queue="pieces",state="active"} 0
pulsevault_queue_tasks{queue="pieces",state="archived"} 0
pulsevault_queue_tasks{queue="pieces",state="pending"} 0
pulsevault_queue_tasks{queue="pieces",state="retry"} 0
pulsevault_queue_tasks{queue="transcode",state="active"} 0
pulsevault_queue_tasks{queue="transcode",state="archived"} 0
pulsevault_queue_tasks{queue="transcode",state="pending"} 2
pulsevault_queue_tasks{queue="transcode",state="retry"} 0
`
		if err := testutil.CollectAndCompare(c, strings.NewReader(want), "pulsevault_queue_tasks"); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutRedisNothingHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, addr := range map[string]string{"refuses": "127.0.0.1:1", "hangs": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			o := redisdb.Options{Addr: addr}
			q := redisqueue.New(redistest.Client(t, o))
			if _, err := q.Enqueue(t.Context(), newTask()); vault.KindOf(err) != vault.Unavailable {
				t.Errorf("enqueue: %v", err)
			}
			reg := prometheus.NewPedanticRegistry()
			reg.MustRegister(queue.NewCollector(q, redistest.Logger(t)))
			if families, err := reg.Gather(); err != nil || len(families) != 0 {
				t.Errorf("scrape: %v, %v", families, err)
			}
			start(t, o, func(context.Context, vault.Task, bool) error { return nil })()
		})
	}
}

func TestAWorkerWaitsForRedis(t *testing.T) {
	server := redistest.Start(t)
	q := redisqueue.New(redistest.Client(t, server.Options()))
	server.Stop()
	done := make(chan vault.Task, 1)
	start(t, server.Options(), func(_ context.Context, task vault.Task, _ bool) error { done <- task; return nil })
	time.Sleep(300 * time.Millisecond)
	server.Restart()
	task := newTask()
	waitFor(t, "queued", func() bool { _, err := q.Enqueue(t.Context(), task); return err == nil })
	select {
	case got := <-done:
		if got != task {
			t.Errorf("got %+v", got)
		}
	case <-time.After(patience):
		t.Error("the worker did not come back")
	}
}

// A Redis that is slow for once does not cost a task the time of its lease.
func TestASlowAnswerLosesNoTask(t *testing.T) {
	t.Parallel()
	o := redistest.Start(t).Options()
	q, task := redisqueue.New(redistest.Client(t, o)), newTask()
	enqueue(t, q, task, queue.Queued)
	slow := *redistest.Client(t, o).Options()
	slow.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return lateConn{c}, err
	}
	client := redis.NewClient(&slow)
	t.Cleanup(func() { _ = client.Close() })
	tries := make(chan int, 9)
	startOn(t, client, func(context.Context, vault.Task, bool) error {
		tries <- state(t, q, task).Retried
		return nil
	})
	select {
	case n := <-tries:
		if n != 0 {
			t.Errorf("the task was handed out %d times before, to nobody", n)
		}
	case <-time.After(patience):
		t.Error("nobody got the task")
	}
}

// lateConn is read a while after what is to be read may have come.
type lateConn struct{ net.Conn }

func (c lateConn) Read(b []byte) (int, error) {
	time.Sleep(1200 * time.Millisecond)
	return c.Conn.Read(b)
}
