package transcode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/storyboard"
	"pulsevault/pkg/vault"
)

// preview is what shows a video before it plays, in a work folder.
type preview struct {
	poster     []byte            // JPEG
	sheets     map[string]string // paths by key, on disk
	storyboard []byte            // WebVTT
}

// preview makes the poster and the storyboard of a video, unless they are there. A video plays without: what goes wrong is
// for the log, and the next attempt, if there is one, tries again. An error is that ctx has ended, or errOvertaken.
func (j *job) preview(ctx context.Context, original string, plan Plan) error {
	_, err := j.Store.Stamp(ctx, j.key(media.Storyboard))
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = j.makePreview(ctx, original, plan)
	}
	switch {
	case err == nil:
		j.log.InfoContext(ctx, "poster and storyboard are there")
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errOvertaken):
		return err
	default:
		j.log.WarnContext(ctx, "there is no poster and storyboard", "error", err)
	}
	return nil
}

// key is where a file of the video is kept that is not in hls/.
func (j *job) key(name string) string { return media.VideoKey(j.video.VideoID) + "/" + name }

func (j *job) makePreview(ctx context.Context, original string, plan Plan) error {
	folder := filepath.Join(j.folder, "preview")
	if err := os.Mkdir(folder, durable.DirMode); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }() // the work folder goes too
	seconds, err := j.length(ctx, original, plan)
	if err != nil {
		return err
	}
	shots, err := j.shoot(ctx, original, plan, folder, seconds)
	if err != nil {
		return err
	}
	p, err := j.compose(folder, shots, seconds)
	if err != nil {
		return err
	}
	return j.publishPreview(ctx, p)
}

// length is how many seconds the video lasts, of which no container need tell.
func (j *job) length(ctx context.Context, original string, plan Plan) (seconds float64, err error) {
	if seconds = j.stands.seconds; seconds == 0 {
		seconds = plan.seconds()
	}
	if seconds > 0 {
		return seconds, nil
	}
	err = j.runner().encode(ctx, j.folder, plan.countArguments(original), j.limits(plan), func(now float64) { seconds = now })
	return max(seconds, 1/plan.Source.FrameRate.Float()), err
}

// publishPreview moves a preview to where it is served from: the storyboard, which leads to the sheets, last. In a
// directory the attempt is compared under the lock, as for HLS; in a bucket every attempt has names of its own for sheets,
// and of two storyboards, or posters, the first to be written stays.
func (j *job) publishPreview(ctx context.Context, p preview) error {
	unlock, err := j.Store.Lock(ctx, j.video.VideoID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := j.compare(ctx); err != nil {
		return err
	}
	if err := j.writeOnce(ctx, media.Poster, p.poster); err != nil {
		return err
	}
	if err := j.Store.Import(ctx, p.sheets); err != nil {
		return fmt.Errorf("publish sheets: %w", err)
	}
	failpoint.Hit("transcode/sheets")
	if err := j.writeOnce(ctx, media.Storyboard, p.storyboard); err != nil {
		return err
	}
	failpoint.Hit("transcode/storyboard")
	if err := j.removeSheets(ctx); err != nil {
		j.log.WarnContext(ctx, "sheets of other attempts not removed", "error", err)
	}
	return nil
}

// writeOnce writes what is to stay as it is, if it is not there.
func (j *job) writeOnce(ctx context.Context, name string, data []byte) error {
	_, err := j.Store.Write(ctx, j.key(name), data, media.None)
	if err != nil && vault.KindOf(err) != vault.Conflict {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// removeSheets removes those sheets that the storyboard does not lead to: it stays as it is, so nobody ever will.
func (j *job) removeSheets(ctx context.Context) error {
	data, _, err := j.Store.Read(ctx, j.key(media.Storyboard))
	if err != nil {
		return err
	}
	cues, err := storyboard.Unmarshal(data)
	if err != nil {
		return err
	}
	keys, err := j.Store.List(ctx, j.key("storyboard"))
	if err != nil {
		return err
	}
	return j.Store.Delete(ctx, slices.DeleteFunc(keys, func(key string) bool {
		led := slices.ContainsFunc(cues, func(c storyboard.Cue) bool { return c.URI == path.Base(key) })
		return led || !media.IsSheet(key)
	})...)
}
