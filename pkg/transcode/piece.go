package transcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Piece makes one piece of a split video, and has the pieces joined if it was the last. What is said of Transcode holds,
// but nothing is given back: the video goes on being transcoded by others.
func (t *Transcoder) Piece(ctx context.Context, task vault.Task, final bool) error {
	return t.partly(ctx, task, final, func(j *job, s *split) error {
		if task.Piece > len(s.Pieces) {
			j.log.WarnContext(ctx, "there is no such piece", "piece", task.Piece, "pieces", len(s.Pieces))
			return nil
		}
		there, err := t.there(ctx, task.VideoID, task.Attempt)
		if err == nil && !there[task.Piece] {
			if err = j.makePiece(ctx, s, task.Piece); err == nil {
				there, err = t.there(ctx, task.VideoID, task.Attempt)
			}
		}
		if err != nil {
			return err
		}
		done := float64(len(there)) / float64(len(s.Pieces))
		t.Progress.SetProgress(ctx, task.VideoID, min(0.99, s.Progress[0]+done*(s.Progress[1]-s.Progress[0])))
		if len(there) < len(s.Pieces) {
			return nil
		}
		return t.enqueueAll(ctx, s.wants(task.VideoID, task.Attempt, there))
	})
}

// partly does a task of a split video, if it is still wanted.
func (t *Transcoder) partly(ctx context.Context, task vault.Task, final bool, do func(*job, *split) error) error {
	v, err := t.Videos.Get(ctx, task.VideoID)
	if err != nil {
		return err
	}
	if v.Attempt != task.Attempt || v.Status != vault.Transcoding {
		return nil
	}
	s, err := t.openSplit(ctx, v.VideoID, v.Attempt)
	if err != nil || s == nil {
		return err
	}
	j, err := t.newJob(v, "-"+uuid.NewString()[:8])
	if err != nil {
		return err
	}
	j.began = s.Began
	if err := j.prepareFolder(); err != nil {
		return err
	}
	defer j.removeFolder()
	return j.endPart(ctx, do(j, s), final)
}

// endPart says what becomes of a part of the work, as end does of an attempt.
func (j *job) endPart(ctx context.Context, err error, final bool) error {
	switch {
	case err == nil || errors.Is(err, errUnrecorded):
		return err
	case errors.Is(err, errOvertaken):
		j.log.WarnContext(ctx, "work on a piece abandoned: the video has gone on without it", "error", err)
		return nil
	case ctx.Err() != nil:
		j.Metrics.countPiece(resultGivenBack)
		return ctx.Err()
	case final && vault.KindOf(err) != vault.Unprocessable:
		err = permanent(reason(err)).Because(err)
	}
	if errors.Is(j.compare(ctx), errOvertaken) { // and its folder taken away
		return nil
	}
	if vault.KindOf(err) != vault.Unprocessable {
		j.Metrics.countPiece(resultRetried)
		j.log.WarnContext(ctx, "work on a piece will be tried again", "error", err)
		return err
	}
	j.Metrics.countPiece(resultFailed)
	if err = j.failFor(ctx, err); errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// makePiece encodes a piece and leaves it with the others.
func (j *job) makePiece(ctx context.Context, s *split, number int) error {
	original, release, err := j.Workshop.Local(ctx, media.OriginalKey(j.video.VideoID))
	if err != nil {
		return fmt.Errorf("get the original: %w", err)
	}
	defer release()
	record := pieceRecord{Files: map[string]string{}}
	var args []string
	of := s.Pieces[number-1]
	if of.SoundBitRate > 0 {
		record.Files[""], args = "sound.mp4", s.Plan.soundArguments(original, j.FFmpegThreads, of)
	} else {
		seek, err := j.whereToRead(ctx, original, s.Plan, of)
		if err != nil {
			return err
		}
		for _, r := range s.Plan.encoded() {
			record.Files[r.Name] = r.Name + ".mp4"
		}
		args = s.Plan.pieceArguments(original, j.FFmpegThreads, of, seek)
	}
	if err := j.runner().encode(ctx, j.folder, args, j.limits(s.Plan), func(float64) {}); err != nil {
		return explain(err, "the picture or sound of the file cannot be decoded")
	}
	if of.SoundBitRate == 0 {
		if record.Frames, err = j.countPiece(ctx, record, of); err != nil {
			return err
		}
	}
	return j.keepPiece(ctx, number, record)
}

// pieceArguments is the command line of ffmpeg that encodes a piece of picture, reading from a time on. Time stamps are
// those of the file, from which its beginning is taken off, so the pictures are on the same grid as without pieces; from
// that the piece is cut by number.
func (p Plan) pieceArguments(path string, threads int, of piece, seek float64) []string {
	args, start := append(p.reading(threads), "-an", "-copyts"), fromZero
	if seek > 0 {
		args, start = append(args, "-noaccurate_seek", "-ss", strconv.FormatFloat(seek, 'f', 6, 64)), ""
	}
	end := ""
	if of.To > 0 {
		end = fmt.Sprintf(":end_pts=%d", of.To)
	}
	args = append(args, input(p.Source.Demuxer, path)...)
	args = append(args, "-filter_complex", p.onGrid(fmt.Sprintf("setpts=PTS-round(%.6f/TB),", p.Source.Start), start)+
		fmt.Sprintf("trim=start_pts=%d%s,setpts=PTS-%d,", of.From, end, of.From)+p.sizes())
	for _, r := range p.encoded() {
		args = append(append(args, p.picture(r, threads, of)...), "-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4", r.Name+".mp4")
	}
	return args
}

// soundArguments is the command line of ffmpeg that encodes the sound.
func (p Plan) soundArguments(path string, threads int, of piece) []string {
	args := append(p.reading(threads), "-vn")
	args = append(append(args, input(p.Source.Demuxer, path)...), "-filter_complex", p.soundFilter(1))
	return append(append(args, soundEncoder(0, of.SoundBitRate)...), "-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4", "sound.mp4")
}

// readAhead is how long before a piece reading begins at least: filters that look at earlier pictures have some then.
const readAhead = 1.0 // seconds

// whereToRead finds a time, in seconds, from which on the file must be read for the pictures of a piece to be decoded: there
// is a key frame between it and the piece. Containers without an index lead to anywhere, and not to key frames.
func (j *job) whereToRead(ctx context.Context, path string, p Plan, of piece) (float64, error) {
	begins := float64(of.From) / p.Source.FrameRate.Float()
	for ahead := readAhead; ahead < begins; ahead *= 2 {
		from := begins - ahead
		list, err := j.packets(ctx, path, p.Source, "pts_time,flags",
			"-read_intervals", fmt.Sprintf("%.6f%%%.6f", p.Source.Start+from, p.Source.Start+begins))
		if err != nil {
			return 0, explain(err, "the picture of the file cannot be read")
		}
		for _, packet := range list {
			at, err := strconv.ParseFloat(packet[0], 64)
			if err == nil && len(packet) > 1 && strings.HasPrefix(packet[1], "K") && at-p.Source.Start <= begins-readAhead/2 {
				return from, nil
			}
		}
	}
	return 0, nil
}

// clockJump is how far apart the time stamps of two pictures are where ffmpeg takes the clock for another one, in seconds.
const clockJump = 10

// clockRunsOn reports whether the clock of a file is the same from its beginning to its end, as far as its pictures tell. If
// not, no place in it can be found by its time, and it is encoded in one run, which ffmpeg knows how to do.
func (j *job) clockRunsOn(ctx context.Context, path string, s Source) bool {
	if !clockJumps(s.Demuxer) {
		return true
	}
	list, err := j.packets(ctx, path, s, "dts_time")
	last := math.NaN()
	for _, packet := range list {
		at, parsed := strconv.ParseFloat(packet[0], 64)
		if parsed != nil {
			continue
		}
		if at < last || at > last+clockJump {
			err = errors.Join(err, fmt.Errorf("its clock jumps from %.1f to %.1f s", last, at))
		}
		last = at
	}
	if err != nil {
		j.log.InfoContext(ctx, "the video is not split", "reason", err)
	}
	return err == nil
}

// countPiece counts the pictures of a piece. All renditions have the same, and as many as there should be, unless the file
// ends earlier.
func (j *job) countPiece(ctx context.Context, record pieceRecord, of piece) (frames int, err error) {
	frames = -1
	for rendition, name := range record.Files {
		out, err := j.runner().output(ctx, "ffprobe", "-v", "error", "-show_entries", "stream=nb_frames", "-of", "csv=p=0",
			"-protocol_whitelist", "file", "-f", "mov", "file:"+filepath.Join(j.folder, name))
		if err != nil {
			return 0, fmt.Errorf("count pictures of %s: %w", rendition, err)
		}
		n := number(string(out))
		if frames >= 0 && n != frames {
			return 0, fmt.Errorf("%s has %d pictures, another rendition %d", rendition, n, frames)
		}
		frames = n
	}
	if of.To > 0 && int64(frames) > of.To-of.From {
		return 0, fmt.Errorf("the piece has %d pictures instead of %d", frames, of.To-of.From)
	}
	return frames, nil
}

// keepPiece leaves a piece with the others, unless the video has gone on, or somebody was faster.
func (j *job) keepPiece(ctx context.Context, number int, record pieceRecord) error {
	files, id := map[string]string{}, uuid.NewString()
	for rendition, name := range record.Files {
		path := filepath.Join(j.folder, name)
		if err := durable.SyncFile(path); err != nil {
			return err
		}
		kept := strings.TrimSuffix(fmt.Sprintf("%04d-%s-%s", number, id, rendition), "-") + ".mp4"
		record.Files[rendition] = kept
		files[splitKey(j.video.VideoID, j.attempt, kept)] = path
	}
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	unlock, err := j.Store.Lock(ctx, j.video.VideoID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := j.compare(ctx); err != nil {
		return err
	}
	if err := j.Store.Import(ctx, files); err != nil {
		return err
	}
	failpoint.Hit("transcode/piece")
	_, err = j.Store.Write(ctx, splitKey(j.video.VideoID, j.attempt, pieceRecordName(number)), data, media.None)
	if err == nil {
		failpoint.Hit("transcode/pieceRecorded")
		j.Metrics.countPiece(resultSuccess)
		j.log.InfoContext(ctx, "piece made", "piece", number, "frames", record.Frames)
		return nil
	}
	if vault.KindOf(err) != vault.Conflict {
		return err
	}
	var unwanted []string
	for key := range files {
		unwanted = append(unwanted, key)
	}
	return j.Store.Delete(ctx, unwanted...)
}
