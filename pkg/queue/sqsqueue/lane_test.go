package sqsqueue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/vault"
)

// twoQueues is a queue with one for pieces beside it.
func twoQueues(t *testing.T) (*sqstest.Server, sqstest.Queue, *sqsqueue.Queue) {
	s := sqstest.Start(t)
	pieces := s.AddBeside("pulsevault-pieces", 3)
	return s, pieces, sqsqueue.New(s.Client(), sqsqueue.Options{URL: s.QueueURL(), PiecesURL: pieces.URL()}, s.Now)
}

// Whatever becomes of a task, that happens in the queue that it came from, by the policy of that queue.
func TestATaskStaysInItsQueue(t *testing.T) {
	t.Parallel()
	s, pieces, q := twoQueues(t)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	enqueue(t, q, queuetest.NewPiece(), queue.Queued)
	if len(s.Bodies()) != 1 || len(pieces.Bodies()) != 1 {
		t.Fatalf("queued %v and %v", s.Bodies(), pieces.Bodies())
	}
	var ofVideo, ofPiece atomic.Int32
	start(t, worker(s, q), func(_ context.Context, task vault.Task, final bool) error {
		tries, n := int32(queue.MaxTries), &ofVideo
		if task.Type == vault.TranscodePiece {
			tries, n = 2, &ofPiece // three receives are allowed there
		}
		if try := n.Add(1); final != (try == tries) {
			t.Errorf("try %d of %s, final %v", try, task.ID(), final)
		}
		return errors.New("the disk is on fire")
	})
	waitFor(t, "both dead", func() bool { return len(s.DeadLetters()) == 2 && len(s.Bodies())+len(pieces.Bodies()) == 0 })
	if ofVideo.Load() != queue.MaxTries || ofPiece.Load() != 2 {
		t.Errorf("%d and %d tries", ofVideo.Load(), ofPiece.Load())
	}
}

func TestAPieceIsGivenBackToItsQueue(t *testing.T) {
	t.Parallel()
	s, pieces, q := twoQueues(t)
	task := queuetest.NewPiece()
	enqueue(t, q, task, queue.Queued)
	ctx, cancel := context.WithCancel(t.Context())
	err := worker(s, q).Run(ctx, func(ctx context.Context, _ vault.Task, _ bool) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil || len(pieces.Bodies()) != 1 || len(s.Bodies()) != 0 {
		t.Errorf("%v and %v, %v", s.Bodies(), pieces.Bodies(), err)
	}
}

func TestBothQueuesAreCounted(t *testing.T) {
	t.Parallel()
	s, pieces, q := twoQueues(t)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	for range 3 {
		enqueue(t, q, queuetest.NewPiece(), queue.Queued)
	}
	pieces.Take(t.Context(), time.Minute)
	s.Put("{")
	start(t, worker(s, q), func(ctx context.Context, _ vault.Task, _ bool) error { // two at a time
		<-ctx.Done()
		return ctx.Err()
	})
	want := []queue.Stats{
		{Queue: queue.TranscodeQueue, Active: 1, Archived: 1, Retry: queue.Unknown, Oldest: queue.Unknown},
		{Queue: queue.PiecesQueue, Pending: 1, Active: 2, Archived: queue.Unknown, Retry: queue.Unknown, Oldest: queue.Unknown}, // dead letters are in common
	}
	var got []queue.Stats
	waitFor(t, "counted", func() (same bool) {
		var err error
		got, err = q.Stats(t.Context())
		return err == nil && len(got) == 2 && got[0] == want[0] && got[1] == want[1]
	})
}

// Without a queue of their own pieces wait with the others, and are still worked on side by side.
func TestPiecesInTheOneQueue(t *testing.T) {
	t.Parallel()
	s, q := world(t)
	first, second := queuetest.NewPiece(), queuetest.NewPiece()
	second.VideoID, second.Piece = first.VideoID, 2
	enqueue(t, q, first, queue.Queued)
	enqueue(t, q, second, queue.Queued)
	if stats, err := q.Stats(t.Context()); err != nil || len(stats) != 1 || stats[0].Pending != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	var running atomic.Int32
	start(t, worker(s, q), func(ctx context.Context, _ vault.Task, _ bool) error {
		running.Add(1)
		for running.Load() < 2 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	})
	waitFor(t, "done", func() bool { return running.Load() == 2 && len(s.Bodies()) == 0 })
}

func TestAMissingQueueOfPiecesIsNamed(t *testing.T) {
	t.Parallel()
	s, pieces, _ := twoQueues(t)
	s.Allow("QueueDoesNotExist")
	q := sqsqueue.New(s.Client(), sqsqueue.Options{URL: s.QueueURL(), PiecesURL: pieces.URL() + "x"}, s.Now)
	if err := worker(s, q).Run(t.Context(), succeed); err == nil {
		t.Error("a worker without a queue runs")
	} else {
		t.Log(err)
	}
}

// A function was given messages of both queues, and says when each is to come again.
func TestPuttingOff(t *testing.T) {
	t.Parallel()
	s, pieces, q := twoQueues(t)
	enqueue(t, q, queuetest.NewTask(), queue.Queued)
	enqueue(t, q, queuetest.NewPiece(), queue.Queued)
	for url, arn := range map[string]string{s.QueueURL(): s.ARN(), pieces.URL(): pieces.ARN()} {
		receive := func() (receipts []string) {
			out, err := s.Client().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, VisibilityTimeout: 5400})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out.Messages {
				receipts = append(receipts, aws.ToString(m.ReceiptHandle))
			}
			return receipts
		}
		for _, after := range []time.Duration{0, time.Minute} {
			if err := q.PutOff(t.Context(), arn, receive()[0], after); err != nil {
				t.Fatal(err)
			}
			if after > 0 && len(receive()) != 0 {
				t.Errorf("%s: it is there before its time", arn)
			}
			s.Advance(after)
		}
		if len(receive()) != 1 {
			t.Errorf("%s: it does not come again", arn)
		}
	}
	if err := q.PutOff(t.Context(), "arn:aws:sqs:eu-central-1:123456789012:other.fifo", "x", 0); err == nil {
		t.Error("a message of somebody else's queue is put off")
	}
}
