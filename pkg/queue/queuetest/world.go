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

// patience is how long the test waits for what must happen. Machines that run many tests at once are slow.
const patience = time.Minute

// NewTask makes a task for a video that is nowhere.
func NewTask() vault.Task { return vault.Task{Type: vault.TranscodeVideo, VideoID: vault.NewVideoID()} }

// NewPiece makes a task for a piece of such a video.
func NewPiece() vault.Task { return piece(vault.NewVideoID(), 1, 1) }

func piece(id vault.VideoID, attempt, n int) vault.Task {
	return vault.Task{Type: vault.TranscodePiece, VideoID: id, Attempt: attempt, Piece: n}
}

func (w World) enqueue(t *testing.T, task vault.Task, want queue.Outcome) {
	t.Helper()
	if got, err := w.Queue.Enqueue(t.Context(), task); err != nil || got != want {
		t.Fatalf("enqueue: %q, %v; want %q", got, err, want)
	}
}

// run runs a worker until stop is called or the test ends.
func (w World) run(t *testing.T, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	worker := w.Worker()
	go func() { ended <- worker.Run(ctx, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the worker does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// start runs a worker until the test ends, and counts what its handler is called for.
func (w World) start(t *testing.T, h queue.Handler) (runs *atomic.Int32) {
	t.Helper()
	runs = new(atomic.Int32)
	w.run(t, func(ctx context.Context, task vault.Task, final bool) error {
		runs.Add(1)
		return h(ctx, task, final)
	})
	return runs
}

// waitEmpty waits until nothing is left, and a handler has run as often as it should; -1 is any number.
func (w World) waitEmpty(t *testing.T, runs *atomic.Int32, want int32) {
	t.Helper()
	waitFor(t, "all done", func() bool { return w.Left() == 0 && (want < 0 || runs.Load() >= want) })
	if n := runs.Load(); want >= 0 && n != want {
		t.Errorf("%d runs, want %d", n, want)
	}
}

func (w World) waitDead(t *testing.T, n int) {
	t.Helper()
	waitFor(t, "dead", func() bool { return w.Dead() == n })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}
