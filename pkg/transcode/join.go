package transcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Join makes renditions of the pieces of a split video, without encoding anything again, and publishes them. What is said of
// Transcode holds.
func (t *Transcoder) Join(ctx context.Context, task vault.Task, final bool) error {
	goOn, reuse := false, true
	err := t.partly(ctx, task, final, func(j *job, s *split) error {
		there, err := t.there(ctx, task.VideoID, task.Attempt)
		if err != nil {
			return err
		}
		if len(there) < len(s.Pieces) { // somebody has removed one
			return t.enqueueAll(ctx, s.wants(task.VideoID, task.Attempt, there))
		}
		if err := j.join(ctx, s); errors.Is(err, errMisfit) {
			j.log.WarnContext(ctx, "the copied picture is no rung", "reason", err)
			reuse = false
		} else if err != nil {
			return err
		}
		if goOn = !s.Last || !reuse; goOn { // what is split is done with, so the next attempt begins
			return t.removeSplits(ctx, task.VideoID, task.Attempt)
		}
		return nil
	})
	if err != nil || !goOn {
		return err
	}
	return t.attempt(ctx, task.VideoID, false, reuse)
}

// join publishes what the pieces of a split are pieces of.
func (j *job) join(ctx context.Context, s *split) (err error) {
	if j.stands, err = j.published(ctx); err != nil {
		return err
	}
	var joined *publication
	if len(j.stands.lacks(s.Plan)) > 0 {
		made, err := j.joinAll(ctx, s)
		if err != nil {
			return err
		}
		if joined, err = j.prepare(j.folder, made); err != nil {
			return err
		}
		failpoint.Hit("transcode/joined")
	}
	if !s.Last {
		return j.publishFirst(ctx, joined, s.Plan.Source)
	}
	return j.finish(ctx, s.Plan.Source, joined)
}

// joinAll makes the renditions of a split, one after the other: of a long video on a small disk, there may not be room for
// all of their pieces at once.
func (j *job) joinAll(ctx context.Context, s *split) ([]encoded, error) {
	records, frames, err := j.pieceRecords(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, r := range s.Plan.Renditions {
		if err := j.joinRendition(ctx, s, r, records); err != nil {
			return nil, fmt.Errorf("join %s: %w", r.Name, err)
		}
	}
	made, err := measureAll(j.folder, s.Plan)
	if err != nil {
		return nil, err
	}
	if made[0].frames != frames {
		return nil, fmt.Errorf("the pieces have %d pictures, and joined they have %d", frames, made[0].frames)
	}
	if s.Plan.cutOff(made[0].seconds()) {
		return nil, errCutOff()
	}
	return made, nil
}

// pieceRecords reads the records of all pieces, and counts their pictures. Only at the end of the video may any be missing.
func (j *job) pieceRecords(ctx context.Context, s *split) (records []pieceRecord, frames int, err error) {
	ended := 0
	for i, of := range s.Pieces {
		data, _, err := j.Store.Read(ctx, splitKey(j.video.VideoID, j.attempt, pieceRecordName(i+1)))
		var record pieceRecord
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read record of piece %d: %w", i+1, err)
		}
		records = append(records, record)
		if of.SoundBitRate > 0 {
			continue
		}
		if ended > 0 && record.Frames > 0 {
			return nil, 0, fmt.Errorf("piece %d has pictures, and piece %d has too few", i+1, ended)
		}
		if of.To > 0 && int64(record.Frames) < of.To-of.From {
			ended = i + 1
		}
		frames += record.Frames
	}
	return records, frames, nil
}

// joinRendition makes a rendition, in segments, of the pieces of its picture and the sound.
func (j *job) joinRendition(ctx context.Context, s *split, r Rendition, records []pieceRecord) (err error) {
	var releases []func()
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	local := func(key string) string {
		path, release, failed := j.Workshop.Local(ctx, key)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("get %s: %w", filepath.Base(key), failed))
			return ""
		}
		releases = append(releases, release)
		return path
	}
	var sound string
	var list strings.Builder
	for i, of := range s.Pieces {
		key := func(rendition string) string {
			return splitKey(j.video.VideoID, j.attempt, records[i].Files[rendition])
		}
		switch {
		case of.SoundBitRate == r.AudioBitRate:
			sound = local(key(""))
		case of.SoundBitRate == 0 && records[i].Frames > 0 && !r.Copied:
			list.WriteString(s.Plan.concatEntry(local(key(r.Name)), of))
		}
	}
	script := filepath.Join(j.folder, "pieces.txt")
	picture := []string{"-protocol_whitelist", "file", "-f", "concat", "-safe", "0", "-i", "file:" + script}
	if r.Copied {
		picture = append([]string{"-dn", "-sn"}, input(s.Plan.Source.Demuxer, local(media.OriginalKey(j.video.VideoID)))...)
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(script, []byte(list.String()), durable.FileMode); err != nil {
		return err
	}
	args := s.Plan.joinArguments(r, picture, sound, segmentPattern(j.attempt))
	return errors.Join(j.runner().encode(ctx, j.folder, args, j.limits(s.Plan), func(float64) {}), os.Remove(script))
}

// concatEntry is a piece in a script of ffmpeg's concat demuxer. Its length is in whole microseconds, as the demuxer takes it,
// such that what is rounded does not add up.
func (p Plan) concatEntry(path string, of piece) string {
	entry := fmt.Sprintf("file '%s'\n", strings.ReplaceAll(path, "'", `'\''`))
	if of.To > 0 {
		length := p.micros(of.To) - p.micros(of.From)
		entry += fmt.Sprintf("duration %d.%06d\n", length/1_000_000, length%1_000_000)
	}
	return entry
}

// joinArguments is the command line of ffmpeg that puts picture and sound together as they are.
func (p Plan) joinArguments(r Rendition, picture []string, sound string, segmentName func(rendition string) string) []string {
	args := picture
	if sound != "" {
		args = append(args, "-protocol_whitelist", "file", "-f", "mov", "-i", "file:"+sound)
	}
	if r.Copied {
		args = append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video))
	} else {
		args = append(args, "-map", "0:v")
	}
	if sound != "" {
		args = append(args, "-map", "1:a")
	}
	return append(append(args, "-c", "copy"), segmented(r.Name, segmentName)...)
}

// micros is when a picture is shown, in microseconds.
func (p Plan) micros(picture int64) int64 {
	rate := p.Source.FrameRate
	return (picture*rate.Den*1_000_000 + rate.Num/2) / rate.Num
}
