package app

import (
	"context"
	"slices"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/vault"
)

const (
	// cancelledByOperator is the reason for people.
	cancelledByOperator = "cancelled by the operator"
	// stopPatience is how long Cancel waits for workers to let go, and stopPoll how often it looks.
	stopPatience = 10 * time.Second
	stopPoll     = 200 * time.Millisecond
)

// Cancel gives a video up, for a reason that says so, and returns what has been done. One that is transcoded, or has failed
// with no task left, is refused with the kind vault.Conflict.
//
// The record comes first: an attempt that finds it changed publishes nothing and ends, and a task that finds no marker does
// nothing. Then tasks that wait are removed, and workers are told to stop. One that has claimed the video in between has
// changed the record back, so all of it is done again until there was nothing left to do.
func (a *App) Cancel(ctx context.Context, id vault.VideoID) (done string, err error) {
	v, err := a.videos.Get(ctx, id)
	if err != nil {
		return "", err
	}
	q, ok := a.queue.(*redisqueue.Queue)
	switch {
	case v.Status == vault.Transcoded:
		return "", refused(nothingToCancel, "video %s is transcoded: there is nothing to cancel", id)
	case !ok && v.Status == vault.TranscodeFailed:
		return "", alreadyFailed(v)
	case !ok:
		return "cancelled; SQS cannot be told: its messages are dropped when a worker receives them, and a worker that is at it publishes nothing", a.giveUp(ctx, id)
	}
	tasks, err := q.OfVideo(ctx, id)
	if err != nil {
		return "", err
	}
	if v.Status == vault.TranscodeFailed && !slices.ContainsFunc(tasks, alive) {
		return "", alreadyFailed(v)
	}
	for deadline := time.Now().Add(stopPatience); ; {
		left := 0
		if err = a.giveUp(ctx, id); err == nil {
			left, err = endTasks(ctx, q, id)
		}
		switch {
		case vault.KindOf(err) == vault.Conflict, ctx.Err() != nil:
			return "", err
		case err == nil && left == 0:
			return "cancelled", nil
		case time.Now().After(deadline):
			return "cancelled; its worker is gone or does not stop, but can publish nothing any more", err
		}
		time.Sleep(stopPoll)
	}
}

func alreadyFailed(v vault.Video) error {
	return refused(nothingToCancel, "video %s has failed already: %s", v.VideoID, v.TranscodeError)
}

// giveUp records that a video was cancelled, unless it has failed and nothing of that is left to be recorded.
func (a *App) giveUp(ctx context.Context, id vault.VideoID) error {
	v, err := a.videos.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case v.Status == vault.Transcoded:
		return refused(nothingToCancel, "video %s was transcoded just before it could be cancelled", id)
	case v.Status == vault.TranscodeFailed && !a.wanted(ctx, vault.Task{Type: vault.TranscodeVideo, VideoID: id}):
		return nil
	}
	return a.transcoder.GiveUp(ctx, vault.Task{Type: vault.TranscodeVideo, VideoID: id}, cancelledByOperator)
}

// alive reports whether somebody may still work on a task.
func alive(e redisqueue.Entry) bool { return e.State != queue.Archived }

// endTasks removes the tasks of a video, tells workers to stop, and returns how many tasks were not yet dead.
func endTasks(ctx context.Context, q *redisqueue.Queue, id vault.VideoID) (left int, err error) {
	tasks, err := q.OfVideo(ctx, id)
	if err != nil {
		return 0, err
	}
	for _, e := range tasks {
		if alive(e) {
			left++
		}
		end := q.Remove
		if e.State == queue.Active {
			end = q.Cancel
		}
		if err := end(ctx, e); err != nil {
			return left, err
		}
	}
	return left, nil
}
