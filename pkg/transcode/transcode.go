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
	"strconv"
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
	j, err := t.claim(ctx, id)
	if err != nil || j == nil {
		return err
	}
	failpoint.Hit("transcode/claimed")
	if err = j.work(ctx); err == nil {
		return nil
	}
	ended := j.end(ctx, err, final)
	if errors.Is(err, errOvertaken) || errors.Is(ended, errOvertaken) {
		// Not a failure: the video is another worker's, who may have taken our work folder from under ffmpeg.
		t.Log.WarnContext(ctx, "transcode abandoned: another worker has the video", "videoId", id, "attempt", j.attempt, "error", err)
		return os.RemoveAll(j.folder)
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
		j.log.ErrorContext(ctx, "transcode failed", "error", err)
		if failed := j.fail(ctx, err); failed != nil {
			// Not Unprocessable: what could not be recorded must be tried again.
			return fmt.Errorf("record that the transcode failed (%s): %w", reason(err), failed)
		}
		return err
	}
	j.Metrics.count(resultRetried)
	j.log.WarnContext(ctx, "transcode will be tried again", "error", err)
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
			t.Progress.SetProgress(ctx, id, 1)
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
		return permanent("files of this type cannot be transcoded")
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

// prepareFolder makes the work folder, and removes those of attempts before. That of a later attempt stays: we may have
// been overtaken.
func (j *job) prepareFolder() error {
	home := filepath.Dir(j.folder)
	entries, err := os.ReadDir(home)
	if err != nil {
		return fmt.Errorf("look for old work folders: %w", err)
	}
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), ".work-")
		if n, err := strconv.Atoi(number); !found || err != nil || n >= j.attempt {
			continue
		}
		// Its ffmpeg may still be writing there; then its own worker removes the rest.
		if err := os.RemoveAll(filepath.Join(home, e.Name())); err != nil {
			j.log.Warn("old work folder not removed", "folder", e.Name(), "error", err)
		}
	}
	return os.Mkdir(j.folder, durable.DirMode)
}

// encodeAll makes every rendition in the work folder and returns their names, highest first.
func (j *job) encodeAll(ctx context.Context, source *Source) (names []string, err error) {
	plan := MakePlan(*source, j.Ladder)
	j.log.InfoContext(ctx, "transcoding", "renditions", len(plan.Renditions), "seconds", plan.seconds())
	args := plan.arguments(j.original, j.FFmpegThreads, segmentPattern(j.attempt))
	err = j.runner().encode(ctx, j.folder, args, j.limits(plan), func(seconds float64) {
		if whole := plan.seconds(); whole > 0 {
			j.Progress.SetProgress(ctx, j.video.VideoID, min(0.99, seconds/whole))
		}
	})
	if err != nil {
		return nil, explain(err, "the picture or sound of the file cannot be decoded")
	}
	made, err := j.measureAll(plan)
	if err != nil {
		return nil, err
	}
	seconds := float64(made[0].frames) / source.FrameRate.Float()
	// Half a video must not pass for a whole one. A tenth, or a second, is what careless containers are wrong by.
	if short := plan.seconds() - seconds; announcesDuration(source.Demuxer) && short > 1 && short > plan.seconds()/10 {
		return nil, permanent("the file ends before the video does; it may have been cut off")
	}
	source.Duration = seconds
	for _, e := range slices.Backward(made) {
		names = append(names, e.plan.Name)
	}
	if err := prepare(j.folder, made); err != nil {
		return nil, err
	}
	failpoint.Hit("transcode/encoded")
	return names, nil
}

// measureAll measures every rendition. All have the same frames, or something is missing from one.
func (j *job) measureAll(plan Plan) (made []encoded, err error) {
	for _, r := range plan.Renditions {
		e, err := measure(j.folder, plan.Source.FrameRate, r)
		if errors.Is(err, os.ErrNotExist) { // ffmpeg was content, but had nothing to write
			return nil, permanent("the file has no picture that can be decoded").Because(err)
		}
		if err != nil {
			return nil, err
		}
		made = append(made, e)
		if e.frames != made[0].frames {
			return nil, fmt.Errorf("%s has %d frames, %s has %d", r.Name, e.frames, made[0].plan.Name, made[0].frames)
		}
	}
	return made, nil
}

// limits are the times after which ffmpeg is thought to stand still, or to run in circles. The larger the file, the
// longer it may have to read before it can begin.
func (j *job) limits(p Plan) limits {
	const slowestDisk, slowestVideo = 20 << 20, 50_000 / 8 // bytes per second
	seconds := p.seconds()
	if seconds == 0 {
		seconds = float64(j.video.OriginalSize) / slowestVideo
	}
	return limits{
		stall: stallTimeout + time.Duration(j.video.OriginalSize/slowestDisk)*time.Second,
		cpu:   10*time.Minute + time.Duration(seconds*60)*time.Second,
	}
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
	if err := j.conclude(context.WithoutCancel(ctx), v); err != nil {
		return fmt.Errorf("%w: %w", errUnrecorded, err)
	}
	return nil
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
	return err
}

// fail records that the video cannot be transcoded.
func (j *job) fail(ctx context.Context, cause error) error {
	v, err := j.leave(ctx, func(v *vault.Video) { v.Status, v.TranscodeError = vault.TranscodeFailed, reason(cause) })
	if err != nil {
		return err
	}
	j.Metrics.count(resultFailed)
	j.Counter.CountTranscode(ctx, false)
	return j.conclude(context.WithoutCancel(ctx), v)
}

// leave ends the attempt without a result, even when ctx has ended, and removes what it made.
func (j *job) leave(ctx context.Context, change func(*vault.Video)) (vault.Video, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	v, err := j.Videos.Update(ctx, j.video.VideoID, func(v *vault.Video) error {
		// Uploaded, when a video is given up that nobody has claimed.
		if v.Attempt != j.attempt || v.Status != vault.Transcoding && v.Status != vault.Uploaded {
			return errOvertaken
		}
		change(v)
		if v.Status == vault.TranscodeFailed {
			return os.RemoveAll(j.hls)
		}
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

// runner's environment is all that ffmpeg sees of ours. Its messages are in English, which fromOutside reads, and its
// allocator does not reserve memory for each thread, which would count against the bound.
func (t *Transcoder) runner() runner {
	return runner{env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "MALLOC_ARENA_MAX=4"}}
}
