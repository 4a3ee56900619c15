package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/vault"
)

// What Retry and Cancel refuse has these codes.
const (
	nothingToRetry  = "nothing_to_retry"
	nothingToCancel = "nothing_to_cancel"
)

func refused(code, format string, args ...any) error {
	return vault.Errorf(vault.Conflict, code, format, args...)
}

// Retry starts a video again that was given up, and returns what has been done. A video whose task only waits for its next
// try need not wait any longer. One that is transcoded, or is waiting or worked on, is refused with the kind vault.Conflict.
//
// The writes: the dead tasks removed → marker → audit entry → task queued. A crash after the marker is repaired by the sweep;
// one before has changed nothing about the video. With the marker before that, a sweep would find the task dead and give the
// video up once more.
func (a *App) Retry(ctx context.Context, id vault.VideoID) (done string, err error) {
	v, err := a.videos.Get(ctx, id)
	switch {
	case err != nil:
		return "", err
	case v.Status == vault.Transcoded:
		return "", refused(nothingToRetry, "video %s is transcoded: there is nothing to retry", id)
	case !a.config.TranscodeEnabled:
		return "", refused(nothingToRetry, "TRANSCODE_ENABLED=false makes no HLS: video %s is queued once it is switched on", id)
	}
	q, ok := a.queue.(*redisqueue.Queue)
	if !ok {
		return a.retryUnseen(ctx, v)
	}
	tasks, err := q.OfVideo(ctx, id)
	if err != nil {
		return "", err
	}
	if hurried, err := hurry(ctx, q, v, tasks); hurried || err != nil {
		return "its next try begins now", err
	}
	for _, e := range tasks {
		if err := q.Remove(ctx, e); err != nil {
			return "", err
		}
	}
	return "queued again", a.queueAgain(ctx, v)
}

// hurry lets the tasks of a video wait no longer that are to be tried again. It refuses a video that is waiting or worked on.
func hurry(ctx context.Context, q *redisqueue.Queue, v vault.Video, tasks []redisqueue.Entry) (hurried bool, err error) {
	failed := v.Status == vault.TranscodeFailed // what is left of its tasks then is worth nothing
	for _, e := range tasks {
		switch {
		case e.State == queue.Active && e.Orphaned:
			return false, refused(nothingToRetry, "the worker of video %s is gone, and another one takes it over within two minutes", v.VideoID)
		case e.State == queue.Active && failed:
			return false, refused(nothingToRetry, "a worker still has to let go of video %s, which has failed; try again in a moment", v.VideoID)
		case e.State == queue.Active:
			return false, refused(nothingToRetry, "video %s is being worked on", v.VideoID)
		case e.State == queue.Pending && !failed:
			return false, refused(nothingToRetry, "video %s is waiting for a worker", v.VideoID)
		}
	}
	for _, e := range tasks {
		if e.State == queue.Retry && !failed {
			hurried, err = true, errors.Join(err, q.RunNow(ctx, e))
		}
	}
	return hurried, err
}

// retryUnseen retries a video where nobody can tell which tasks are queued: by its record alone.
func (a *App) retryUnseen(ctx context.Context, v vault.Video) (done string, err error) {
	if v.Status != vault.TranscodeFailed {
		return "", refused(nothingToRetry, "video %s is %s, so it has not failed; SQS cannot be asked whether it waits or is worked on, but the sweep queues it if not",
			v.VideoID, v.Status)
	}
	return "queued again; SQS drops what it was sent already within five minutes, and then the sweep queues it once more. Its dead letter stays",
		a.queueAgain(ctx, v)
}

// queueAgain marks a video and queues it. An empty marker does: there is nothing left to finalize.
func (a *App) queueAgain(ctx context.Context, v vault.Video) error {
	_, err := a.markers.MarkedFrom(ctx, v.VideoID)
	if errors.Is(err, fs.ErrNotExist) {
		err = a.markers.Mark(ctx, v.VideoID, "")
	}
	if err != nil {
		return fmt.Errorf("mark video: %w", err)
	}
	err = a.audit.Append(ctx, audit.Transcode, audit.Event{
		Action: "video.retried", VideoID: string(v.VideoID), Details: map[string]any{"attempt": v.Attempt, "status": v.Status},
	})
	if err != nil {
		return err
	}
	_, err = a.queue.Enqueue(ctx, vault.Task{Type: vault.TranscodeVideo, VideoID: v.VideoID})
	return err
}

// DeadVideos returns the videos that have dead tasks, those that died last first.
func (a *App) DeadVideos(ctx context.Context) (ids []vault.VideoID, err error) {
	q, ok := a.queue.(*redisqueue.Queue)
	if !ok {
		return nil, refused(nothingToRetry, "SQS cannot be asked which tasks are dead: name the videos, or look for transcode_failed in their meta.json")
	}
	dead, err := q.List(ctx, queue.Archived, math.MaxInt32)
	seen := make(map[vault.VideoID]bool)
	for _, e := range dead {
		if id := e.Task.VideoID; id != "" && !seen[id] { // nobody understands one without
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, err
}
