package queuetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// videosFirst queues a video while a worker is busy with pieces of a long one.
func videosFirst(t *testing.T, w World) {
	const pieces = 8
	long, short := vault.NewVideoID(), NewTask()
	for n := range pieces {
		w.enqueue(t, piece(long, 1, n+1), queue.Queued)
	}
	begun, free := make(chan vault.Task, pieces+1), make(chan struct{})
	runs := w.start(t, func(_ context.Context, task vault.Task, _ bool) error {
		begun <- task
		<-free
		return nil
	})
	for range 2 { // as many as a worker does at a time
		if task := <-begun; queue.Of(task) != queue.PiecesQueue {
			t.Errorf("%s is begun", task.ID())
		}
	}
	w.enqueue(t, short, queue.Queued)
	free <- struct{}{}
	if task := <-begun; task != short {
		t.Errorf("%s goes before a short video", task.ID())
	}
	close(free)
	w.waitEmpty(t, runs, pieces+1)
}

func sideBySide(t *testing.T, w World) {
	long := vault.NewVideoID()
	w.enqueue(t, piece(long, 1, 1), queue.Queued)
	w.enqueue(t, piece(long, 1, 2), queue.Queued)
	var running atomic.Int32
	runs := w.start(t, func(ctx context.Context, _ vault.Task, _ bool) error {
		running.Add(1)
		for ctx.Err() == nil && running.Load() < 2 {
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	})
	waitFor(t, "both running", func() bool { return running.Load() == 2 })
	w.waitEmpty(t, runs, 2)
}

// allKinds queues every task that one video may have. None is taken for another, and each arrives as it was queued.
func allKinds(t *testing.T, w World) {
	id := vault.NewVideoID()
	want := map[vault.Task]bool{
		{Type: vault.TranscodeVideo, VideoID: id}: true, {Type: vault.JoinPieces, VideoID: id, Attempt: 1}: true,
		{Type: vault.JoinPieces, VideoID: id, Attempt: 2}: true, piece(id, 1, 1): true, piece(id, 1, 2): true, piece(id, 2, 1): true,
		piece(id, 1, 12): true, piece(id, 11, 2): true,
	}
	for task := range want {
		w.enqueue(t, task, queue.Queued)
	}
	var mu sync.Mutex
	runs := w.start(t, func(_ context.Context, task vault.Task, _ bool) error {
		mu.Lock()
		defer mu.Unlock()
		if !want[task] {
			t.Errorf("handler got %+v, or got it again", task)
		}
		delete(want, task)
		return nil
	})
	w.waitEmpty(t, runs, 8)
}
