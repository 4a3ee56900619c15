// Package transcode turns a stored original into HLS (RFC 8216).
//
// It writes in this order:
//
//	the attempt raised in meta.json        from here on the video is this worker's
//	the source, cut but not encoded        or else the lowest rung: in a work folder, .work-{attempt}
//	its files, moved to hls/               each whole before it is moved
//	master.m3u8                            from here on the video plays
//	meta.json                              how long it is; still transcoding
//	poster.jpg, and sheets of pictures     once; that they cannot be made is no failure
//	storyboard.vtt                         which leads to the sheets
//	the ladder, in the work folder
//	its files, moved to hls/
//	master.m3u8, replaced                  the source is no longer in it, but its files stay
//	meta.json                              transcoded
//	the audit entry
//	the marker removed
//
// From each first move to meta.json the worker holds the lock on the video's folder and has seen that the attempt in
// meta.json is still its own: one that was paused and overtaken publishes nothing. In a bucket, which has no locks, every
// attempt has names of its own for segments and playlists, and the master playlist and meta.json are written only over
// those that were read: of two attempts at the same step one can come through, whole. A crash at any point is repaired by
// transcoding again; what the master playlist leads to is not made again.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Videos keeps the records of videos. Update runs change under the lock on the video's folder.
type Videos interface {
	Get(ctx context.Context, id vault.VideoID) (vault.Video, error)
	Update(ctx context.Context, id vault.VideoID, change func(*vault.Video) error) (vault.Video, error)
}

// Markers are the videos that want work.
type Markers interface {
	Unmark(ctx context.Context, id vault.VideoID) error
}

// Auditor keeps the record of what happened.
type Auditor interface {
	Append(ctx context.Context, c audit.Category, e audit.Event) error
}

// Progress is told how far a transcode is, as a fraction. It may forget.
type Progress interface {
	SetProgress(ctx context.Context, id vault.VideoID, fraction float64)
}

// Counter counts transcodes over all processes, as well as it can.
type Counter interface {
	CountTranscode(ctx context.Context, ok bool)
}

// Transcoder transcodes videos. Any number of workers may be given the same one; one of them does it.
type Transcoder struct {
	Videos        Videos
	Store         media.Store
	Workshop      media.Workshop // of the same store
	Markers       Markers
	Audit         Auditor
	Progress      Progress
	Counter       Counter
	Enqueue       func(ctx context.Context, t vault.Task) error // harmless for a task that waits already
	Ladder        []Rung
	PieceSeconds  float64 // a longer video is split into pieces of at most about so many seconds; 0 splits none
	FFmpegThreads int     // of one ffmpeg; 0 lets it choose
	Metrics       *Metrics
	Log           *slog.Logger

	tools tools
}

// recordTimeout bounds what is still written when the context of the work has ended.
const recordTimeout = 10 * time.Second

// errOvertaken says that another worker has claimed the video since.
var errOvertaken = errors.New("another worker has taken the video over")

// errUnrecorded says that the video is transcoded, but that not everything that follows has been done.
var errUnrecorded = errors.New("the transcode is not recorded everywhere")

// permanent is a failure that no further attempt can mend, with a reason for people.
func permanent(reason string) *vault.Error {
	return vault.Errorf(vault.Unprocessable, "transcode_failed", "%s", reason)
}

// Transcode makes the HLS of a video and records it. final says that there will be no further attempt. An error of the
// kind vault.Unprocessable is recorded as the video's own failure; after any other one the video waits for its next
// attempt, or, if this was the final one, has failed too. When ctx ends, the video is given back.
func (t *Transcoder) Transcode(ctx context.Context, id vault.VideoID, final bool) error {
	return t.attempt(ctx, id, final, true)
}

// attempt makes an attempt at a video. reuse says that its copied picture may be a rung.
func (t *Transcoder) attempt(ctx context.Context, id vault.VideoID, final, reuse bool) error {
	if split, err := t.goOn(ctx, id); err != nil || split {
		return err
	}
	j, err := t.claim(ctx, id)
	if err != nil || j == nil {
		return err
	}
	defer j.removeFolder()
	failpoint.Hit("transcode/claimed")
	if err = j.work(ctx, reuse); err == nil {
		return nil
	}
	if errors.Is(err, errSplit) {
		_, err := t.goOn(ctx, id)
		return err
	}
	ended := j.end(ctx, err, final)
	if errors.Is(err, errOvertaken) || errors.Is(ended, errOvertaken) || vault.KindOf(ended) == vault.NotFound {
		// Not a failure: the video is another worker's, or was deleted; our work folder may have gone from under ffmpeg.
		t.Log.WarnContext(ctx, "transcode abandoned: another worker has the video, or it was deleted", "videoId", id, "attempt", j.attempt, "error", err)
		return nil
	}
	return ended
}

// end ends an attempt that came to nothing, in the way that its error asks for.
func (j *job) end(ctx context.Context, err error, final bool) error {
	switch {
	case errors.Is(err, errOvertaken):
		return err
	case ctx.Err() != nil:
		j.Metrics.count(resultGivenBack)
		return errors.Join(ctx.Err(), j.giveBack(ctx))
	case errors.Is(err, errUnrecorded): // the video is transcoded: only the rest is to be done again
		return err
	case final && vault.KindOf(err) != vault.Unprocessable:
		err = permanent(reason(err)).Because(err)
	}
	if vault.KindOf(err) == vault.Unprocessable {
		return j.failFor(ctx, err)
	}
	given := j.giveBack(ctx)
	if !errors.Is(given, errOvertaken) {
		j.Metrics.count(resultRetried)
		j.log.WarnContext(ctx, "transcode will be tried again", "error", err)
	}
	return errors.Join(err, given)
}

// failFor records that the video has failed for good, and returns why.
func (j *job) failFor(ctx context.Context, err error) error {
	j.log.ErrorContext(ctx, "transcode failed", "error", err)
	switch failed := j.fail(ctx, err); {
	case errors.Is(failed, errOvertaken):
		return failed
	case failed != nil: // not Unprocessable: what could not be recorded must be tried again
		return fmt.Errorf("record that the transcode failed (%s): %w", reason(err), failed)
	}
	return err
}

// GiveUp records that a task is not tried again, because the tries before ended without a word. That of a piece means nothing
// once the video has gone on to another attempt.
func (t *Transcoder) GiveUp(ctx context.Context, task vault.Task, reason string) error {
	v, err := t.Videos.Get(ctx, task.VideoID)
	if err != nil || task.Attempt != 0 && task.Attempt != v.Attempt {
		return err
	}
	if v.Status == vault.Transcoded || v.Status == vault.TranscodeFailed {
		return t.conclude(ctx, v)
	}
	j, err := t.newJob(v, "")
	if err != nil {
		return err
	}
	return j.fail(ctx, permanent(reason))
}

// reason tells people why a video failed.
func reason(err error) string {
	var e *vault.Error
	if errors.As(err, &e) {
		return e.Message
	}
	var f *failure
	if errors.As(err, &f) && f.shortage() != "" {
		return "the video could not be transcoded: " + f.shortage()
	}
	return "the video could not be transcoded here, for a reason that is not its own; it can be tried again"
}

// explain makes a permanent failure of a run of ffmpeg that failed because of the file.
func explain(err error, why string) error {
	var f *failure
	var known *vault.Error
	if errors.As(err, &known) || !errors.As(err, &f) || f.fromOutside() {
		return err
	}
	if f.overran {
		why = "it takes far more work than a video of its length should; it may be damaged, or made to keep a computer busy"
	}
	return permanent(why).Because(err)
}

// runner's environment is all that ffmpeg sees of ours. Its messages are in English, which fromOutside reads, and its
// allocator does not reserve memory for each thread, which would count against the bound.
func (t *Transcoder) runner() runner {
	return runner{env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "MALLOC_ARENA_MAX=4"}}
}
