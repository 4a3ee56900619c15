package transcode

import (
	"cmp"
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

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// job is one attempt at one video.
type job struct {
	*Transcoder
	video   vault.Video
	attempt int
	began   time.Time
	folder  string // where renditions are made
	master  []byte // the master playlist of what was made
	log     *slog.Logger
}

func (t *Transcoder) newJob(v vault.Video, attempt int) (*job, error) {
	folder, err := t.Workshop.Scratch(v.VideoID, fmt.Sprintf("%s%d", workPrefix, attempt))
	if err != nil {
		return nil, err
	}
	return &job{
		Transcoder: t, video: v, attempt: attempt, began: time.Now(), folder: folder,
		log: t.Log.With("videoId", v.VideoID, "attempt", attempt),
	}, nil
}

// workPrefix begins the name of a work folder; the attempt follows.
const workPrefix = ".work-"

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
	original, release, err := j.Workshop.Local(ctx, media.OriginalKey(j.video.VideoID))
	if err != nil {
		return fmt.Errorf("get the original: %w", err)
	}
	defer release()
	source, err := j.probe(ctx, original, demuxer)
	if err != nil {
		return explain(err, "the file is damaged, incomplete, or not the kind of video that it begins like")
	}
	names, seconds, err := j.published(ctx)
	if err != nil {
		return err
	}
	source.Duration = cmp.Or(seconds, source.Duration)
	if names == nil {
		if names, err = j.encodeAll(ctx, original, &source); err != nil {
			return err
		}
	}
	return j.finish(ctx, source, names)
}

// prepareFolder makes the work folder, and removes those of attempts before.
func (j *job) prepareFolder() error {
	j.removeWork(filepath.Dir(j.folder), j.attempt-1)
	if err := os.MkdirAll(filepath.Dir(j.folder), durable.DirMode); err != nil {
		return err
	}
	return os.Mkdir(j.folder, durable.DirMode)
}

// removeWork removes the work folders of attempts up to one. Those of later attempts stay: we may have been overtaken.
func (t *Transcoder) removeWork(home string, upTo int) {
	entries, err := os.ReadDir(home)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Log.Warn("old work folders not removed", "error", err)
		return
	}
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), workPrefix)
		if n, err := strconv.Atoi(number); !found || err != nil || n > upTo {
			continue
		}
		// Its ffmpeg may still be writing there; then its own worker removes the rest.
		if err := os.RemoveAll(filepath.Join(home, e.Name())); err != nil {
			t.Log.Warn("old work folder not removed", "folder", e.Name(), "error", err)
		}
	}
}

// encodeAll makes every rendition in the work folder and returns their names, highest first.
func (j *job) encodeAll(ctx context.Context, original string, source *Source) (names []string, err error) {
	plan := MakePlan(*source, j.Ladder)
	j.log.InfoContext(ctx, "transcoding", "renditions", len(plan.Renditions), "seconds", plan.seconds())
	args := plan.arguments(original, j.FFmpegThreads, segmentPattern(j.attempt))
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
	if j.master, err = prepare(j.folder, made, j.attempt); err != nil {
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
