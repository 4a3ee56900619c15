package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// job is one attempt at one video, or the work on a piece of one.
type job struct {
	*Transcoder
	video   vault.Video
	attempt int
	began   time.Time
	folder  string // where renditions are made
	lock    *flock.Flock
	stands  standing
	log     *slog.Logger
}

// newJob makes a job in a work folder of its own, whose name ends with suffix.
func (t *Transcoder) newJob(v vault.Video, suffix string) (*job, error) {
	folder, err := t.Workshop.Scratch(v.VideoID, fmt.Sprintf("%s%d%s", workPrefix, v.Attempt, suffix))
	if err != nil {
		return nil, err
	}
	return &job{
		Transcoder: t, video: v, attempt: v.Attempt, began: time.Now(), folder: folder,
		log: t.Log.With("videoId", v.VideoID, "attempt", v.Attempt),
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
	return t.newJob(v, "")
}

func (j *job) work(ctx context.Context, reuse bool) error {
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
	if err := j.playSource(ctx, original, MakePlan(source, j.Ladder)); err != nil {
		return err
	}
	encoded := MakePlan(source, j.Ladder)
	if !reuse {
		return j.makeLadder(ctx, original, encoded)
	}
	if source, err = j.asCut(ctx, source); err != nil {
		return err
	}
	err = j.makeLadder(ctx, original, MakePlan(source, j.Ladder))
	if errors.Is(err, errMisfit) {
		j.log.WarnContext(ctx, "the copied picture is no rung", "reason", err)
		err = j.makeLadder(ctx, original, encoded)
	}
	return err
}

// errMisfit says that a copied picture has more frames than the encoded ones, or fewer.
var errMisfit = errors.New("the copied picture does not fit the others")

// makeLadder makes and publishes those rungs that are not there yet: the lowest alone, if nothing plays, and then all others.
// Of a long video they are left to all workers.
func (j *job) makeLadder(ctx context.Context, original string, plan Plan) error {
	for {
		next := plan
		next.Renditions = j.stands.lacks(plan)
		if len(next.Renditions) == 0 {
			return j.finish(ctx, plan.Source, nil)
		}
		last := j.stands.version != media.None || len(next.Renditions) == 1
		if !last {
			next.Renditions = next.Renditions[:1]
		} else if err := j.preview(ctx, original, plan); err != nil {
			return err
		}
		if pieces := next.pieces(j.PieceSeconds); pieces != nil && j.clockRunsOn(ctx, original, next.Source) {
			return j.split(ctx, next, last, pieces)
		}
		p, err := j.make(ctx, original, next, last)
		switch {
		case err != nil:
			return err
		case last:
			return j.finish(ctx, plan.Source, p)
		}
		if err := j.publishFirst(ctx, p, plan.Source); err != nil {
			return err
		}
	}
}

// make makes the renditions of a plan in the work folder, ready to be published.
func (j *job) make(ctx context.Context, original string, plan Plan, last bool) (*publication, error) {
	j.log.InfoContext(ctx, "transcoding", "renditions", len(plan.Renditions), "seconds", plan.seconds())
	folder, err := os.MkdirTemp(j.folder, "")
	if err != nil {
		return nil, err
	}
	made, err := j.encode(ctx, original, plan, folder, func(seconds float64) {
		if whole := plan.seconds(); last && whole > 0 {
			j.Progress.SetProgress(ctx, j.video.VideoID, min(0.99, seconds/whole))
		}
	})
	if err != nil {
		return nil, err
	}
	p, err := j.prepare(folder, made)
	if err == nil && last {
		failpoint.Hit("transcode/encoded")
	}
	return p, err
}

// prepare makes a publication of renditions in a folder, and brings it to disk.
func (j *job) prepare(folder string, made []encoded) (*publication, error) {
	kept := j.stands.rungs()
	if had := int(math.Round(j.stands.seconds * made[0].rate)); len(kept) > 0 && had != made[0].frames {
		return nil, fmt.Errorf("%s has %d frames, %s has %d", made[0].plan.Name, made[0].frames, media.RenditionName(kept[0].URI), had)
	}
	p, err := prepare(folder, made, kept, j.attempt)
	if err == nil {
		err = p.sync()
	}
	return p, err
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
		return nil, errCutOff()
	}
	return made, nil
}

func errCutOff() error {
	return permanent("the file ends before the video does; it may have been cut off")
}

// cutOff reports whether there is much less of a video than its container announces: half a video must not pass for a whole
// one. A tenth, or a second, is what careless containers are wrong by.
func (p Plan) cutOff(seconds float64) bool {
	short := p.seconds() - seconds
	return announcesDuration(p.Source.Demuxer) && short > 1 && short > p.seconds()/10
}

// measureAll measures every rendition. All have the same frames, or something is missing from one.
func measureAll(folder string, plan Plan) (made []encoded, err error) {
	work := segmentsIn(folder)
	for _, r := range plan.Renditions {
		e, err := measure(work, plan.Source.FrameRate, r)
		if errors.Is(err, os.ErrNotExist) { // ffmpeg was content, but had nothing to write
			return nil, permanent("the file has no picture that can be decoded").Because(err)
		}
		if err != nil {
			return nil, err
		}
		made = append(made, e)
		if e.frames != made[0].frames {
			err := fmt.Errorf("%s has %d frames, %s has %d", r.Name, e.frames, made[0].plan.Name, made[0].frames)
			if r.Copied || made[0].plan.Copied {
				err = errors.Join(errMisfit, err)
			}
			return nil, err
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
