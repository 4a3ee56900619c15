// Package transcode turns a stored original into HLS (RFC 8216).
//
// It writes in this order:
//
//	the attempt raised in meta.json        from here on the video is this worker's
//	the renditions, in a work folder       videos/{videoId}/.work-{attempt}
//	segments and playlists, moved to hls/  each on disk before it is moved
//	master.m3u8                            from here on the video plays
//	meta.json                              transcoded
//	the audit entry
//	the marker removed
//
// From the first move to meta.json the worker holds the lock on the video's folder and has seen that the attempt in
// meta.json is still its own: one that was paused and overtaken publishes nothing. A crash at any point is repaired by
// transcoding again; when the master playlist is there already, only the rest is done.
package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Videos keeps the records of videos. Update runs change under the lock on the video's folder.
type Videos interface {
	Get(ctx context.Context, id vault.VideoID) (vault.Video, error)
	Update(ctx context.Context, id vault.VideoID, change func(*vault.Video) error) (vault.Video, error)
}

// Store says where media are on this machine, and forgets what a video wanted.
type Store interface {
	Path(key string) (string, error)
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
	Store         Store
	Audit         Auditor
	Progress      Progress
	Counter       Counter
	Ladder        []Rung
	FFmpegThreads int // of one ffmpeg; 0 lets it choose
	Metrics       *Metrics
	Log           *slog.Logger
}

// recordTimeout bounds what is still written when the context of the work has ended.
const recordTimeout = 10 * time.Second

// errOvertaken says that another worker has claimed the video since.
var errOvertaken = errors.New("another worker has taken the video over")

// permanent is a failure that no further attempt can mend, with a reason for people.
func permanent(reason string) *vault.Error {
	return vault.Errorf(vault.Unprocessable, "transcode_failed", "%s", reason)
}

// Transcode makes the HLS of a video and records it. final says that there will be no further attempt. An error of the
// kind vault.Unprocessable is recorded as the video's own failure; after any other one the video waits for its next
// attempt, or, if this was the final one, has failed too. When ctx ends, the video is given back.
func (t *Transcoder) Transcode(ctx context.Context, id vault.VideoID, final bool) error {
	j, err := t.claim(ctx, id)
	if err != nil || j == nil {
		return err
	}
	failpoint.Hit("transcode/claimed")
	err = j.work(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errOvertaken):
		t.Log.WarnContext(ctx, "transcode abandoned", "videoId", id, "attempt", j.attempt, "error", err)
		return os.RemoveAll(j.folder)
	case ctx.Err() != nil:
		t.Metrics.count(resultGivenBack)
		return errors.Join(ctx.Err(), j.giveBack(ctx))
	case final || vault.KindOf(err) == vault.Unprocessable:
		t.Log.ErrorContext(ctx, "transcode failed", "videoId", id, "attempt", j.attempt, "error", err)
		return errors.Join(err, j.fail(ctx, reason(err)))
	}
	t.Metrics.count(resultRetried)
	t.Log.WarnContext(ctx, "transcode will be tried again", "videoId", id, "attempt", j.attempt, "error", err)
	return errors.Join(err, j.giveBack(ctx))
}

// GiveUp records that no further attempt is made, because those before ended without a word.
func (t *Transcoder) GiveUp(ctx context.Context, id vault.VideoID, reason string) error {
	v, err := t.Videos.Get(ctx, id)
	if err != nil {
		return err
	}
	if v.Status == vault.Transcoded || v.Status == vault.TranscodeFailed {
		return t.conclude(ctx, v)
	}
	j, err := t.newJob(v, v.Attempt)
	if err != nil {
		return err
	}
	return j.fail(ctx, reason)
}

// reason tells people why a video failed.
func reason(err error) string {
	var e *vault.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return "the video could not be transcoded here, for a reason that is not its own; it can be tried again"
}

// job is one attempt at one video.
type job struct {
	*Transcoder
	video    vault.Video
	attempt  int
	began    time.Time
	original string // path
	hls      string // folder
	folder   string // where renditions are made
	log      *slog.Logger
}

func (t *Transcoder) newJob(v vault.Video, attempt int) (*job, error) {
	original, err := t.Store.Path(media.OriginalKey(v.VideoID))
	if err != nil {
		return nil, err
	}
	home := filepath.Dir(original)
	return &job{
		Transcoder: t, video: v, attempt: attempt, began: time.Now(), original: original, hls: filepath.Join(home, "hls"),
		folder: filepath.Join(home, fmt.Sprintf(".work-%d", attempt)), log: t.Log.With("videoId", v.VideoID, "attempt", attempt),
	}, nil
}

// claim makes the video this worker's. A video that is transcoded already only gets what was left undone, and no job.
func (t *Transcoder) claim(ctx context.Context, id vault.VideoID) (*job, error) {
	done := errors.New("transcoded already")
	v, err := t.Videos.Update(ctx, id, func(v *vault.Video) error {
		if v.Status == vault.Transcoded {
			return done
		}
		v.Status, v.TranscodeError = vault.Transcoding, ""
		v.Attempt++
		return nil
	})
	if errors.Is(err, done) {
		if v, err = t.Videos.Get(ctx, id); err == nil {
			err = t.conclude(ctx, v)
		}
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("claim video: %w", err)
	}
	t.Progress.SetProgress(ctx, id, 0)
	return t.newJob(v, v.Attempt)
}

func (j *job) work(ctx context.Context) error {
	if err := j.prepareFolder(); err != nil {
		return err
	}
	demuxer, ok := Demuxer(j.video.ContentType)
	if !ok {
		return permanent("files of type " + j.video.ContentType + " cannot be transcoded")
	}
	source, err := j.probe(ctx, j.original, demuxer)
	if err != nil {
		return explain(err, "the file is damaged, incomplete, or not the kind of video that it begins like")
	}
	names, err := published(j.hls)
	if err != nil {
		return err
	}
	if names == nil {
		if names, err = j.encodeAll(ctx, &source); err != nil {
			return err
		}
	}
	return j.finish(ctx, source, names)
}

// prepareFolder makes the work folder, and removes those of attempts before.
func (j *job) prepareFolder() error {
	old, err := filepath.Glob(filepath.Join(filepath.Dir(j.folder), ".work-*"))
	if err != nil {
		return err
	}
	for _, folder := range old {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove old work folder: %w", err)
		}
	}
	return os.Mkdir(j.folder, durable.DirMode)
}

// encodeAll makes every rendition in the work folder and returns their names, highest first.
func (j *job) encodeAll(ctx context.Context, source *Source) (names []string, err error) {
	plan := MakePlan(*source, j.Ladder)
	j.log.InfoContext(ctx, "transcoding", "renditions", len(plan.Renditions), "seconds", source.Duration)
	args := plan.arguments(j.original, j.FFmpegThreads, segmentPattern(j.attempt))
	seconds, err := j.runner().encode(ctx, j.folder, args, cpuBound(*source), func(seconds float64) {
		if source.Duration > 0 {
			j.Progress.SetProgress(ctx, j.video.VideoID, min(0.99, seconds/source.Duration))
		}
	})
	if err != nil {
		return nil, explain(err, "the picture or sound of the file cannot be decoded")
	}
	if short := source.Duration - seconds; short > 1 && short > source.Duration/10 {
		return nil, permanent("the file ends before the video does; it may have been cut off")
	}
	var made []encoded
	for _, r := range plan.Renditions {
		e, err := j.measure(ctx, j.folder, *source, r)
		if err != nil {
			return nil, explain(err, "the file has no picture that can be decoded")
		}
		made = append(made, e)
		names = append(names, r.Name)
	}
	if source.Duration == 0 {
		source.Duration = seconds
	}
	slices.Reverse(names)
	if err := prepare(j.folder, made); err != nil {
		return nil, err
	}
	failpoint.Hit("transcode/encoded")
	return names, nil
}

// cpuBound is the processor time after which ffmpeg is thought to run in circles.
func cpuBound(s Source) time.Duration {
	return 10*time.Minute + time.Duration(s.Duration*60)*time.Second
}

// finish publishes what the work folder holds, if anything, and records it.
func (j *job) finish(ctx context.Context, s Source, names []string) error {
	v, err := j.Videos.Update(ctx, j.video.VideoID, func(v *vault.Video) error {
		if v.Attempt != j.attempt || v.Status != vault.Transcoding {
			return errOvertaken
		}
		if _, err := os.Stat(filepath.Join(j.hls, media.MasterPlaylist)); errors.Is(err, os.ErrNotExist) {
			if err := publish(j.folder, j.hls); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		v.Status, v.TranscodedAt, v.TranscodeDuration = vault.Transcoded, &now, time.Since(j.began).Round(time.Millisecond).Seconds()
		v.Duration, v.Width, v.Height, v.Renditions = s.Duration, s.Width, s.Height, names
		return nil
	})
	if err != nil {
		return err
	}
	failpoint.Hit("transcode/meta")
	if err := os.RemoveAll(j.folder); err != nil {
		j.log.WarnContext(ctx, "work folder not removed", "error", err)
	}
	j.Progress.SetProgress(ctx, j.video.VideoID, 1)
	j.Metrics.succeeded(time.Since(j.began))
	j.Counter.CountTranscode(ctx, true)
	j.log.InfoContext(ctx, "transcoded", "renditions", strings.Join(names, ","), "took", time.Since(j.began).Round(time.Millisecond))
	return j.conclude(context.WithoutCancel(ctx), v)
}

// conclude records the end of a video's transcode in the audit log, and that it wants no more work.
func (t *Transcoder) conclude(ctx context.Context, v vault.Video) error {
	action, details := "video.transcoded", map[string]any{"attempt": v.Attempt, "renditions": v.Renditions, "duration": v.Duration}
	if v.Status == vault.TranscodeFailed {
		action, details = "video.transcode_failed", map[string]any{"attempt": v.Attempt, "reason": v.TranscodeError}
	}
	err := t.Audit.Append(ctx, audit.Transcode, audit.Event{
		ID:     uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "pulsevault:%s:%s:%d", action, v.VideoID, v.Attempt)).String(),
		Action: action, VideoID: string(v.VideoID), Details: details,
	})
	if err != nil {
		return err
	}
	failpoint.Hit("transcode/audited")
	if err := t.Store.Unmark(ctx, v.VideoID); err != nil {
		return fmt.Errorf("remove marker: %w", err)
	}
	failpoint.Hit("transcode/unmarked")
	return nil
}

// giveBack lets another worker, or this one later, take the video.
func (j *job) giveBack(ctx context.Context) error {
	_, err := j.leave(ctx, func(v *vault.Video) { v.Status = vault.Uploaded })
	return ifOurs(err)
}

// fail records that the video cannot be transcoded.
func (j *job) fail(ctx context.Context, reason string) error {
	v, err := j.leave(ctx, func(v *vault.Video) { v.Status, v.TranscodeError = vault.TranscodeFailed, reason })
	if err != nil {
		return ifOurs(err)
	}
	j.Metrics.count(resultFailed)
	j.Counter.CountTranscode(ctx, false)
	return j.conclude(context.WithoutCancel(ctx), v)
}

// ifOurs drops the error of an attempt that is no longer ours to end.
func ifOurs(err error) error {
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// leave ends the attempt without a result, even when ctx has ended, and removes what it made.
func (j *job) leave(ctx context.Context, change func(*vault.Video)) (vault.Video, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	v, err := j.Videos.Update(ctx, j.video.VideoID, func(v *vault.Video) error {
		if v.Attempt != j.attempt {
			return errOvertaken
		}
		change(v)
		if _, err := os.Stat(filepath.Join(j.hls, media.MasterPlaylist)); errors.Is(err, os.ErrNotExist) {
			return os.RemoveAll(j.hls)
		}
		return nil
	})
	return v, errors.Join(err, os.RemoveAll(j.folder))
}

// explain makes a permanent failure of a run of ffmpeg that failed because of the file.
func explain(err error, why string) error {
	var f *failure
	var known *vault.Error
	if errors.As(err, &known) || !errors.As(err, &f) || f.fromOutside() {
		return err
	}
	return permanent(why).Because(err)
}

func (t *Transcoder) runner() runner { return runner{env: []string{"PATH=" + os.Getenv("PATH")}} }
