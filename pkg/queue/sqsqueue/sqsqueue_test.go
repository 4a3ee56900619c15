package sqsqueue_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/vault"
)

// world is a queue on a server of its own.
func world(t *testing.T) (*sqstest.Server, *sqsqueue.Queue) {
	s := sqstest.Start(t)
	return s, sqsqueue.New(s.Client(), sqsqueue.Options{URL: s.QueueURL()}, s.Now)
}

func enqueue(t *testing.T, q *sqsqueue.Queue, task vault.Task, want queue.Outcome) {
	t.Helper()
	if got, err := q.Enqueue(t.Context(), task); err != nil || got != want {
		t.Fatalf("enqueue: %q, %v; want %q", got, err, want)
	}
}

// start runs a worker until the test ends.
func start(t *testing.T, w sqsqueue.Worker, h queue.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

func succeed(context.Context, vault.Task, bool) error { return nil }

// While a task waits, each sweep asks for it to be queued. It is sent again now and then, in case it was lost.
func TestATaskThatWaitsIsSeldomSentAgain(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	task := queuetest.NewTask()
	var sent []int
	for minute := range 120 {
		outcome, err := q.Enqueue(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		if outcome == queue.Queued {
			sent = append(sent, minute)
		}
		s.Advance(time.Minute)
	}
	if want := []int{0, 6, 18, 42, 90}; !slices.Equal(sent, want) || len(s.Bodies()) != len(want) {
		t.Errorf("sent in minutes %v, want %v; %d are queued", sent, want, len(s.Bodies()))
	}
	s.Advance(5 * time.Minute) // nobody asks for it: it wanted nothing more
	enqueue(t, q, task, queue.Queued)
}

// Of one video there is one task at a time, however often it was queued.
func TestOneVideoIsWorkedOnOnceAtATime(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	task := queuetest.NewTask()
	for range 3 {
		enqueue(t, q, task, queue.Queued)
		s.Advance(2 * time.Hour)
	}
	var atOnce, runs atomic.Int32
	start(t, worker(s, q), func(context.Context, vault.Task, bool) error {
		if n := atOnce.Add(1); n > 1 {
			t.Errorf("%d at once", n)
		}
		time.Sleep(100 * time.Millisecond)
		atOnce.Add(-1)
		runs.Add(1)
		return nil
	})
	waitFor(t, "done", func() bool { return runs.Load() == 3 && len(s.Bodies()) == 0 })
}

// A message that was sent, while the answer said that it was not, is sent once.
func TestAnAnswerThatGetsLost(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	for _, sent := range []bool{false, true} {
		s.Fail("SendMessage", 1, sent)
		enqueue(t, q, queuetest.NewTask(), queue.Queued)
	}
	s.Fail("SendMessage", 2, true) // also when the client gives up, and the next sweep asks again
	task := queuetest.NewTask()
	if _, err := q.Enqueue(t.Context(), task); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("enqueue: %v", err)
	}
	enqueue(t, q, task, queue.Queued)
	if n := len(s.Bodies()); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

func TestWhatSQSCanTellIsShown(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	for range 3 {
		enqueue(t, q, queuetest.NewTask(), queue.Queued)
	}
	s.Take(t.Context(), 30*time.Second)
	stats, err := q.Stats(t.Context())
	want := queue.Stats{Queue: "transcode", Pending: 2, Active: 1, Retry: queue.Unknown, Oldest: queue.Unknown}
	if err != nil || len(stats) != 1 || stats[0] != want {
		t.Errorf("%+v, %v", stats, err)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(queue.NewCollector(q, s.Logger()))
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || len(families[0].Metric) != 3 {
		t.Errorf("%v, %v; want pending, active and archived", families, err)
	}
}

func TestAMissingQueueIsNamed(t *testing.T) {
	t.Parallel()
	s, _ := world(t)
	s.Allow("QueueDoesNotExist")
	q := sqsqueue.New(s.Client(), sqsqueue.Options{URL: s.QueueURL() + "x"}, s.Now)
	if err := worker(s, q).Run(t.Context(), succeed); err == nil {
		t.Error("a worker without a queue runs")
	} else {
		t.Log(err)
	}
}

func TestAWorkerWaitsForSQS(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	s.Fail("GetQueueAttributes", 2, false)
	s.Fail("ReceiveMessage", 2, false)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	start(t, worker(s, q), succeed)
	waitFor(t, "done", func() bool { return len(s.Bodies()) == 0 })
}

func TestWithoutSQSNothingHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, addr := range map[string]string{"refuses": "127.0.0.1:1", "hangs": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := world(t) // for its log
			client := sqs.New(sqs.Options{
				Region: sqstest.Region, BaseEndpoint: aws.String("http://" + addr),
				Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
			})
			q := sqsqueue.New(client, sqsqueue.Options{URL: "http://" + addr + "/1/x.fifo"}, time.Now)
			if _, err := q.Enqueue(t.Context(), queuetest.NewTask()); vault.KindOf(err) != vault.Unavailable {
				t.Errorf("enqueue: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := worker(s, q).Run(ctx, succeed); err != nil {
				t.Error(err)
			}
		})
	}
}
