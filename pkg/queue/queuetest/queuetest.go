// Package queuetest is the test that every kind of queue must pass.
package queuetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// World is one queue, empty when a test begins, and what only its own kind can do to it.
type World struct {
	Queue queue.Queue
	// Worker makes a worker that does two tasks at a time and tries failed ones again at once.
	Worker func() queue.Worker
	// Put queues a payload that nobody can understand.
	Put func(payload string)
	// Orphan has a worker take the one task that is queued, whatever its kind, and die. Then it lets the worker's lease run
	// out.
	Orphan func()
	// Later lets so much time pass that a task which was done can be queued again.
	Later func()
	// Dead counts the dead letters, and Left what is queued otherwise, in all queues.
	Dead, Left func() int

	newTask func() vault.Task // of the kind that is tested
}

// Run runs every test on a world of its own, and those that are about all kinds of task with videos and with pieces.
func Run(t *testing.T, newWorld func(t *testing.T) World) {
	run := func(name string, newTask func() vault.Task, test func(*testing.T, World)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.newTask = newTask
			test(t, w)
		})
	}
	for name, test := range map[string]func(*testing.T, World){
		"queued twice and done once":          queuedTwice,
		"queued by many at once":              queuedByMany,
		"tried again and then dead":           triedAgain,
		"dead at once if it cannot succeed":   deadAtOnce,
		"stopping gives back, uncounted":      givenBack,
		"taken over from a dead worker":       takenOver,
		"two workers do each task only once":  sharedOut,
		"a stopped worker takes nothing more": stopped,
	} {
		run("video: "+name, NewTask, test)
		run("piece: "+name, NewPiece, test)
	}
	for name, test := range map[string]func(*testing.T, World){
		"no task, no queueing":                   noTask,
		"dead at once if nobody understands":     notUnderstood,
		"short videos go before waiting pieces":  videosFirst,
		"pieces of one video run side by side":   sideBySide,
		"all tasks of a video differ and arrive": allKinds,
	} {
		run(name, NewTask, test)
	}
}

func queuedTwice(t *testing.T, w World) {
	task := w.newTask()
	w.enqueue(t, task, queue.Queued)
	w.enqueue(t, task, queue.AlreadyQueued)
	runs := w.start(t, func(_ context.Context, got vault.Task, final bool) error {
		if got != task || final {
			t.Errorf("handler got %+v, final %v", got, final)
		}
		return nil
	})
	w.waitEmpty(t, runs, 1)
	w.Later()
	w.enqueue(t, task, queue.Queued)
	w.waitEmpty(t, runs, 2)
}

func queuedByMany(t *testing.T, w World) {
	task := w.newTask()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if outcome, err := w.Queue.Enqueue(t.Context(), task); err != nil || outcome == queue.Dead {
				t.Errorf("enqueue: %q, %v", outcome, err)
			}
		})
	}
	all.Wait()
	if n := w.Left(); n != 1 {
		t.Errorf("%d tasks are queued", n)
	}
	w.waitEmpty(t, w.start(t, done), 1)
}

func noTask(t *testing.T, w World) {
	for _, bad := range []vault.Task{{}, {Type: "x", VideoID: vault.NewVideoID()}, {Type: vault.TranscodeVideo, VideoID: "../x"}} {
		if outcome, err := w.Queue.Enqueue(t.Context(), bad); err == nil {
			t.Errorf("%+v is %s", bad, outcome)
		}
	}
	if n := w.Left(); n != 0 {
		t.Errorf("%d tasks are queued", n)
	}
}

func triedAgain(t *testing.T, w World) {
	w.enqueue(t, w.newTask(), queue.Queued)
	var tries atomic.Int32
	w.start(t, func(_ context.Context, _ vault.Task, final bool) error {
		n := tries.Add(1)
		if final != (n == queue.MaxTries) {
			t.Errorf("try %d, final %v", n, final)
		}
		if n == 2 {
			panic("at the second try")
		}
		return errors.New("the disk is on fire")
	})
	w.waitDead(t, 1)
	if n := tries.Load(); n != queue.MaxTries {
		t.Errorf("%d tries", n)
	}
}

func deadAtOnce(t *testing.T, w World) {
	hopeless, good := w.newTask(), w.newTask()
	w.enqueue(t, hopeless, queue.Queued)
	w.enqueue(t, good, queue.Queued)
	runs := w.start(t, func(_ context.Context, task vault.Task, _ bool) error {
		if task == hopeless {
			return vault.Errorf(vault.Unprocessable, "no_video", "there is no video in it")
		}
		return nil
	})
	w.waitDead(t, 1)
	w.waitEmpty(t, runs, 2)
	if outcome, err := w.Queue.Enqueue(t.Context(), hopeless); err != nil || outcome == queue.Queued {
		t.Errorf("a dead task is queued again at once: %q, %v", outcome, err)
	}
}

func notUnderstood(t *testing.T, w World) {
	for _, payload := range []string{"{", "null", `{"type":"x","videoId":"y"}`, "transcode"} {
		w.Put(payload)
	}
	w.enqueue(t, NewTask(), queue.Queued)
	runs := w.start(t, done)
	w.waitDead(t, 4)
	w.waitEmpty(t, runs, 1)
}

func givenBack(t *testing.T, w World) {
	short, long := w.newTask(), w.newTask()
	w.enqueue(t, short, queue.Queued)
	w.enqueue(t, long, queue.Queued)
	var running atomic.Int32
	stop := w.run(t, func(ctx context.Context, task vault.Task, _ bool) error {
		running.Add(1)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), queue.ErrStopping) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		time.Sleep(100 * time.Millisecond) // ends ffmpeg, gives the video back
		if task == short {
			return nil // it was just through
		}
		return ctx.Err()
	})
	waitFor(t, "two running", func() bool { return running.Load() == 2 })
	stop()
	if n := w.Left(); n != 1 {
		t.Errorf("%d tasks are left", n)
	}
	for range queue.MaxTries { // more often than it would be tried if it failed
		taken := make(chan bool, 1)
		stop := w.run(t, func(ctx context.Context, task vault.Task, final bool) error {
			if task != long || final {
				t.Errorf("handler got %+v, final %v", task, final)
			}
			taken <- true
			<-ctx.Done()
			return ctx.Err()
		})
		<-taken
		stop()
	}
	w.waitEmpty(t, w.start(t, done), 1)
	if n := w.Dead(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func takenOver(t *testing.T, w World) {
	task := w.newTask()
	w.enqueue(t, task, queue.Queued)
	w.Orphan()
	w.enqueue(t, task, queue.AlreadyQueued)
	w.waitEmpty(t, w.start(t, done), 1)
}

func sharedOut(t *testing.T, w World) {
	const n = 12
	for range n {
		w.enqueue(t, w.newTask(), queue.Queued)
	}
	var runs sync.Map
	work := func(_ context.Context, task vault.Task, _ bool) error {
		if _, again := runs.LoadOrStore(task.VideoID, true); again {
			t.Errorf("%s is done twice", task.ID())
		}
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	w.run(t, work)
	w.waitEmpty(t, w.start(t, work), -1)
	count := 0
	runs.Range(func(any, any) bool { count++; return true })
	if count != n {
		t.Errorf("%d of %d tasks are done", count, n)
	}
}

func stopped(t *testing.T, w World) {
	stop := w.run(t, func(context.Context, vault.Task, bool) error {
		t.Error("a stopped worker works")
		return nil
	})
	time.Sleep(100 * time.Millisecond)
	stop()
	w.enqueue(t, w.newTask(), queue.Queued)
	time.Sleep(300 * time.Millisecond)
	if n := w.Left(); n != 1 {
		t.Errorf("%d tasks are left", n)
	}
}

func done(context.Context, vault.Task, bool) error { return nil }
