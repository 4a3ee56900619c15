package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

// Tasks are listed in each state, the running ones with the progress of their video, those that are to be tried again with why
// and when, and the dead ones with why.
func TestTasksAreListedInEachState(t *testing.T) {
	settings := map[string]string{}
	a, _ := newApp(t, settings)
	h := a.Handler(app.Upload, app.Finalize)
	var ids []string // dead, retrying, running and waiting, in the order in which a worker takes them
	for range 4 {
		ids = append(ids, stored(t, h, []byte(mp4)))
	}
	at := redisdb.Options{Addr: net.JoinHostPort(settings["REDIS_HOST"], settings["REDIS_PORT"])}
	begun := workOn(t, at)
	<-begun
	redisdb.Progress{Client: redistest.Client(t, at), Logger: redistest.Logger(t)}.SetProgress(t.Context(), vault.VideoID(ids[2]), 0.25)
	list := awaitTasks(t, a)
	if c := list.Queues[0]; *c.Running != 1 || *c.Waiting != 1 || *c.Retrying != 1 || *c.Dead != 1 || !list.Listed {
		t.Errorf("counted %d, %d, %d, %d", *c.Running, *c.Waiting, *c.Retrying, *c.Dead)
	}
	for i, want := range []struct {
		state, id, lastError string
		tries                int
	}{{"running", ids[2], "", 1}, {"waiting", ids[3], "", 0}, {"retrying", ids[1], "on fire", 1}, {"dead", ids[0], "no video in it", 1}} {
		got := list.Tasks[i]
		if got.State != want.state || string(got.VideoID) != want.id || got.Filename != "x" || got.Tries != want.tries || !strings.Contains(got.LastError, want.lastError) {
			t.Errorf("listed as %s: %+v", want.state, got)
		}
		if got.NextTry.After(time.Now()) != (want.state == "retrying") || (got.Progress != nil) != (want.state == "running") {
			t.Errorf("next try %v, progress %v of one that is %s", got.NextTry, got.Progress, want.state)
		}
	}
	if p := list.Tasks[0].Progress; p == nil || *p != 0.25 {
		t.Errorf("progress is %v", p)
	}
}

// workOn has a worker fail with its first task for good, with its second for now, and hold its third, of which it tells.
func workOn(t *testing.T, at redisdb.Options) (begun <-chan struct{}) {
	third := make(chan struct{})
	var runs atomic.Int32
	w := redisqueue.Worker{Client: redistest.Client(t, at), RetryDelay: func(int) time.Duration { return time.Hour }, Logger: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(ctx context.Context, _ vault.Task, _ bool) error {
			switch runs.Add(1) {
			case 1:
				return vault.Errorf(vault.Unprocessable, "no_video", "there is no video in it")
			case 2:
				return errors.New("the disk is on fire")
			}
			close(third)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return third
}

// awaitTasks waits until there are four tasks in the list, each in another state: a state is noted after its handler has ended.
func awaitTasks(t *testing.T, a *app.App) (list app.TaskList) {
	t.Helper()
	for range 1200 {
		var err error
		if list, err = a.Tasks(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		if len(list.Tasks) == 4 && !slices.ContainsFunc(list.Tasks[1:], func(e app.TaskEntry) bool { return e.State == "running" }) {
			return list
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("listed %+v", list.Tasks)
	return list
}
