package app

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// sweepEvery is the time between sweeps.
const sweepEvery = time.Minute

// swept is what a sweep did.
type swept struct {
	Queued, Resumed, Expired, Failed, Forgotten, Folders, Temporary, Deleted, Listed int
}

// openUploads are those that a sweep comes upon and leaves open.
type openUploads struct{ count, bytes int64 }

func (o *openUploads) add(u vault.Upload) { o.count, o.bytes = o.count+1, o.bytes+u.Size }

// RunSweeps sweeps now and every minute until ctx ends. Several processes may sweep at once.
func (a *App) RunSweeps(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		a.Sweep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Sweep brings back what crashes, lost queues and clients that went away have left half done: it finishes finalizes that
// were cut short, queues videos that want work, removes expired uploads and what is left of deleted videos, and completes the list of videos. It reports what it did in the log.
func (a *App) Sweep(ctx context.Context) {
	var s swept
	err := errors.Join(a.sweepUploads(ctx, &s), a.sweepPending(ctx, &s), a.sweepTemporary(&s), a.sweepCollection(ctx, &s))
	if err != nil && ctx.Err() == nil {
		a.Log.WarnContext(ctx, "sweep incomplete; the next one goes on", "error", err)
	}
	if s != (swept{}) {
		a.Log.InfoContext(ctx, "swept", "queued", s.Queued, "resumed", s.Resumed, "expired", s.Expired, "failed", s.Failed,
			"forgotten", s.Forgotten, "folders", s.Folders, "temporary", s.Temporary, "deleted", s.Deleted, "listed", s.Listed)
	}
}

// sweepUploads looks at the uploads whose bytes have not become a video, and counts them.
func (a *App) sweepUploads(ctx context.Context, s *swept) error {
	ids, err := a.uploaded.Open(ctx)
	if err != nil {
		return err
	}
	var open openUploads
	err = each(ctx, ids, func(id vault.UploadID) error { return a.sweepUpload(ctx, id, s, &open) })
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, a.open.Set(ctx, open.count, open.bytes))
}

// each does something for every id, whatever becomes of the others, until ctx ends.
func each[ID any](ctx context.Context, ids []ID, do func(ID) error) error {
	var errs []error
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, do(id))
	}
	return errors.Join(errs...)
}

func (a *App) sweepUpload(ctx context.Context, id vault.UploadID, s *swept, open *openUploads) error {
	u, err := a.uploaded.Get(ctx, id)
	switch {
	case err == nil && u.Finalize != nil:
		return a.resume(ctx, id, s)
	case err == nil && !u.Expired(time.Now()):
		open.add(u)
		return nil
	case err != nil && vault.KindOf(err) != vault.NotFound:
		return err
	case err != nil && time.Since(id.Time()) < a.config.UploadExpiry:
		return nil // it may be just being created: who asks for its lock makes its first piece let go
	}
	release, err := a.locks.Hold(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	gone, err := a.uploaded.Discard(ctx, id)
	if err != nil || !gone {
		return err
	}
	s.Expired++
	return a.audit.Append(ctx, audit.Upload, audit.Event{Action: "upload.expired", UploadID: string(id)})
}

func (a *App) resume(ctx context.Context, id vault.UploadID, s *swept) error {
	resumed, err := a.finalizer.Resume(ctx, id)
	if resumed {
		s.Resumed++
	}
	return err
}

// sweepPending looks at the videos that are marked as wanting work.
func (a *App) sweepPending(ctx context.Context, s *swept) error {
	ids, err := a.markers.Marked(ctx)
	if err != nil {
		return err
	}
	return each(ctx, ids, func(id vault.VideoID) error { return a.sweepVideo(ctx, id, s) })
}

// sweepVideo finishes the finalizing of a marked video, if that was cut short, and then queues the video. With no record
// even then, somebody has removed the video.
func (a *App) sweepVideo(ctx context.Context, id vault.VideoID, s *swept) error {
	from, err := a.markers.MarkedFrom(ctx, id)
	if errors.Is(err, fs.ErrNotExist) { // transcoded since
		return nil
	}
	if from != "" {
		err = a.resume(ctx, from, s)
	}
	if err != nil && vault.KindOf(err) != vault.NotFound {
		return err
	}
	v, err := a.videos.Get(ctx, id)
	if err != nil && vault.KindOf(err) == vault.NotFound {
		s.Forgotten++
		a.Log.WarnContext(ctx, "a video that was to be transcoded is no longer there", "videoId", id)
		return a.markers.Unmark(ctx, id)
	}
	if err != nil || !a.config.TranscodeEnabled {
		return err
	}
	a.collection.Enlist(ctx, v) // whoever finalized it may have died without having been able to
	return a.queueVideo(ctx, id, s)
}

// queueVideo queues what a video wants, and removes what dead workers have left of work on it.
func (a *App) queueVideo(ctx context.Context, id vault.VideoID, s *swept) error {
	cleaned, cleanErr := a.transcoder.Clean(id)
	s.Folders += cleaned
	tasks, err := a.transcoder.Wants(ctx, id)
	if err != nil {
		return errors.Join(err, cleanErr)
	}
	for _, t := range tasks {
		outcome, err := a.queue.Enqueue(ctx, t)
		if err != nil {
			return errors.Join(err, cleanErr)
		}
		switch outcome {
		case queue.Queued:
			s.Queued++
		case queue.Dead:
			s.Failed++
			return errors.Join(a.transcoder.GiveUp(ctx, t, triedTooOften), cleanErr)
		case queue.AlreadyQueued:
		}
	}
	return cleanErr
}

// sweepTemporary removes what crashes left of half-written files, after a time in which nothing is still being written.
func (a *App) sweepTemporary(s *swept) error {
	var errs []error
	c := a.config
	for _, dir := range []string{c.MediaRoot, c.UploadDir, c.pendingDir(), c.deletionsDir(), c.authDir()} {
		n, err := durable.RemoveTemp(dir, time.Now().Add(-time.Hour))
		s.Temporary += n
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
