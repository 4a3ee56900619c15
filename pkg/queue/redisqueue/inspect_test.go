package redisqueue_test

import (
	"context"
	"errors"
	"testing"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/queuetest"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

// All tasks of a video are found, in both queues, and no other; what waits can be removed, in no state twice.
func TestTheTasksOfAVideo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		q, other, piece := redisqueue.New(redistest.Client(t, o)), queuetest.NewTask(), queuetest.NewPiece()
		video := vault.Task{Type: vault.TranscodeVideo, VideoID: piece.VideoID}
		for _, task := range []vault.Task{other, video, piece} {
			enqueue(t, q, task, queue.Queued)
		}
		entries, err := q.OfVideo(t.Context(), video.VideoID)
		if err != nil || len(entries) != 2 || entries[0].Task != video || entries[1].Task != piece {
			t.Fatalf("%+v, %v", entries, err)
		}
		for range 2 {
			if err := q.Remove(t.Context(), entries[1]); err != nil {
				t.Error(err)
			}
		}
		if all, err := q.List(t.Context(), queue.Pending, 1); err != nil || len(all) != 1 || all[0].Task != other {
			t.Errorf("%+v, %v; want the first of the two that are left", all, err)
		}
	})
}

// A worker is told to end a task. It is then removed, and nobody works on it again.
func TestARunningTaskIsCancelled(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		q, task := redisqueue.New(redistest.Client(t, o)), newTask()
		enqueue(t, q, task, queue.Queued)
		begun, ended := make(chan bool, 9), make(chan error, 9)
		start(t, o, func(ctx context.Context, _ vault.Task, _ bool) error {
			begun <- true
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ctx.Err()
		})
		<-begun
		waitFor(t, "gone", func() bool {
			entries, err := q.OfVideo(t.Context(), task.VideoID)
			if err != nil {
				t.Log(err)
				return false
			}
			for _, e := range entries {
				end := q.Remove
				if e.State == queue.Active {
					end = q.Cancel
				}
				_ = end(t.Context(), e) // it may just have changed its state
			}
			return len(entries) == 0
		})
		if cause := <-ended; errors.Is(cause, queue.ErrStopping) {
			t.Error("the worker stops")
		}
	})
}
