package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
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
	stands  standing
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
	if j.stands, err = j.published(ctx); err != nil {
		return err
	}
	plan := MakePlan(source, j.Ladder)
	if len(j.stands.lacks(plan)) > 0 {
		if err = j.playAtOnce(ctx, original, plan); err != nil {
			return err
		}
	}
	ladder, err := j.encodeAll(ctx, original, plan)
	if err != nil {
		return err
	}
	return j.finish(ctx, source, ladder)
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

// encodeAll makes those renditions of the plan that are not there yet in the work folder. Nothing is to be published if all
// of them are.
func (j *job) encodeAll(ctx context.Context, original string, plan Plan) (*publication, error) {
	plan.Renditions = j.stands.lacks(plan)
	if len(plan.Renditions) == 0 {
		return nil, nil
	}
	j.log.InfoContext(ctx, "transcoding", "renditions", len(plan.Renditions), "seconds", plan.seconds())
	made, err := j.encode(ctx, original, plan, j.folder, func(seconds float64) {
		if whole := plan.seconds(); whole > 0 {
			j.Progress.SetProgress(ctx, j.video.VideoID, min(0.99, seconds/whole))
		}
	})
	if err != nil {
		return nil, err
	}
	kept := j.stands.rungs()
	if had := int(math.Round(j.stands.seconds * plan.Source.FrameRate.Float())); len(kept) > 0 && had != made[0].frames {
		return nil, fmt.Errorf("%s has %d frames, %s has %d", made[0].plan.Name, made[0].frames, media.RenditionName(kept[0].URI), had)
	}
	p, err := prepare(j.folder, made, kept, j.attempt)
	if err == nil {
		err = p.sync()
	}
	if err != nil {
		return nil, err
	}
	failpoint.Hit("transcode/encoded")
	return p, nil
}

// encode makes the renditions of a plan in a folder, and tells report how many seconds of them there are.
func (j *job) encode(ctx context.Context, original string, plan Plan, folder string, report func(seconds float64)) ([]encoded, error) {
	args := plan.arguments(original, j.FFmpegThreads, segmentPattern(j.attempt))
	if err := j.runner().encode(ctx, folder, args, j.limits(plan), report); err != nil {
		return nil, explain(err, "the picture or sound of the file cannot be decoded")
	}
	made, err := measureAll(folder, plan)
	if err != nil {
		return nil, err
	}
	if plan.cutOff(made[0].seconds()) {
		return nil, permanent("the file ends before the video does; it may have been cut off")
	}
	return made, nil
}

// cutOff reports whether there is much less of a video than its container announces: half a video must not pass for a whole
// one. A tenth, or a second, is what careless containers are wrong by.
func (p Plan) cutOff(seconds float64) bool {
	short := p.seconds() - seconds
	return announcesDuration(p.Source.Demuxer) && short > 1 && short > p.seconds()/10
}

// measureAll measures every rendition. All have the same frames, or something is missing from one.
func measureAll(folder string, plan Plan) (made []encoded, err error) {
	for _, r := range plan.Renditions {
		e, err := measure(folder, plan.Source.FrameRate, r)
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
