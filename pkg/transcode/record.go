package transcode

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
)

// finish publishes the ladder, if there is anything left of it to publish, and records that the video is transcoded.
func (j *job) finish(ctx context.Context, s Source, ladder *publication) error {
	v, err := j.Videos.Update(ctx, j.video.VideoID, func(v *vault.Video) error {
		if !j.holds(*v) {
			return errOvertaken
		}
		if ladder != nil {
			if err := j.publish(ctx, ladder, [2]string{"transcode/segments", "transcode/master"}); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			ladder = nil // change may be called again
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		v.Status, v.TranscodedAt, v.TranscodeDuration = vault.Transcoded, &now, time.Since(j.began).Round(time.Millisecond).Seconds()
		v.Duration, v.Width, v.Height, v.Renditions = j.stands.seconds, s.Width, s.Height, j.stands.names()
		return nil
	})
	if err != nil {
		return err
	}
	failpoint.Hit("transcode/meta")
	j.Progress.SetProgress(ctx, j.video.VideoID, 1)
	j.Metrics.succeeded(time.Since(j.began))
	j.Counter.CountTranscode(ctx, true)
	j.log.InfoContext(ctx, "transcoded", "renditions", strings.Join(v.Renditions, ","), "took", time.Since(j.began).Round(time.Millisecond))
	if err := j.conclude(context.WithoutCancel(ctx), v); err != nil {
		return fmt.Errorf("%w: %w", errUnrecorded, err)
	}
	return nil
}

// conclude records the end of a video's transcode in the audit log, and that it wants no more work.
func (t *Transcoder) conclude(ctx context.Context, v vault.Video) error {
	if err := t.tidy(ctx, v); err != nil {
		return err
	}
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
	if err := t.Markers.Unmark(ctx, v.VideoID); err != nil {
		return fmt.Errorf("remove marker: %w", err)
	}
	failpoint.Hit("transcode/unmarked")
	return nil
}

// holds reports whether a record says that the video is still this attempt's.
func (j *job) holds(v vault.Video) bool {
	return v.Attempt == j.attempt && v.Status == vault.Transcoding
}

// compare looks whether the video is still this attempt's; if not, be it that it was deleted, the error is errOvertaken.
func (j *job) compare(ctx context.Context) error {
	v, err := j.Videos.Get(ctx, j.video.VideoID)
	if err == nil && !j.holds(v) || vault.KindOf(err) == vault.NotFound {
		err = errOvertaken
	}
	return err
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
		playable, err := j.playable(ctx)
		if err != nil || playable { // what players may have links to stays
			return err
		}
		return j.unpublish(ctx, func(key string) bool { return v.Status == vault.TranscodeFailed || j.ours(key) })
	})
	return v, err
}
